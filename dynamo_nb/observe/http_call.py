"""A call over HTTP: a request of a route, with the methods of a call of an endpoint."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import aclosing, asynccontextmanager
from copy import copy
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Self

from dynamo_nb.errors import DeadlineExceeded, DynamoError, EndpointError, InvalidArgument
from dynamo_nb.observe.http_target import WITHOUT_BODY, with_query
from dynamo_nb.runtime.http_client import HttpConnections, HttpHead, HttpMessage
from dynamo_nb.runtime.spans import TRACED
from dynamo_nb.runtime.tracing import TRACING
from dynamo_nb.sdk.call import Call

FAILED: Final = 400
"""The lowest HTTP status of an error."""
LONGEST_MESSAGE: Final = 500
"""Maximum length of an error message from an answer, in characters."""
_LINES: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
_DONE: Final = "[DONE]"  # the last event of streams in OpenAI's format, which is not an item


@dataclass(eq=False, repr=False)
class HttpCall(Call[Any]):
    """A request of a route over HTTP. It starts when it is awaited or iterated.

    The items of a stream are the events of `text/event-stream`, the lines of newline-delimited JSON, or the parts of a
    chunked text. JSON is decoded.

    Attributes:
        message: The request, with the path in place of the URL.
        service: The service that answers.
        base_url: Returns the current URL of the service. Raises DynamoError if there is none.
        connections: Idle connections of the running loop; None to open one connection for each request.
        stream: True, as for calls of streams. `HttpItems.streamed` is True if the answer is a stream.
    """

    message: HttpMessage
    service: str
    base_url: Callable[[], str]
    connections: HttpConnections | None = None
    stream: bool = True

    @property
    def name(self) -> str:
        """The method and the path, such as `POST /generate`."""
        return f"{self.message.method} {self.message.url.partition('?')[0]}"

    def over(self, connections: HttpConnections) -> Self:
        """Returns this call over other connections.

        Args:
            connections: The connections.
        """
        other = copy(self)
        other.connections = connections
        return other

    async def _answer(self) -> Any:
        items = HttpItems(self)
        found = [item async for item in items]
        return found if items.streamed else found[0]

    def __await__(self) -> Generator[Any, None, Any]:
        return self._answer().__await__()

    def __aiter__(self) -> HttpItems:
        return HttpItems(self)


class HttpItems(AsyncIterator[Any]):
    """The items of one answer. An answer that is not a stream has one item.

    Attributes:
        streamed: True if the answer is a stream. It is set before the first item.
    """

    def __init__(self, call: HttpCall) -> None:
        self.streamed = False
        self._items = self._traced(call)

    async def __anext__(self) -> Any:
        return await anext(self._items)

    async def aclose(self) -> None:
        """Ends the request."""
        await self._items.aclose()

    async def _traced(self, call: HttpCall) -> AsyncGenerator[Any]:
        """The items, within the timeout, and recorded as the span of a call."""
        headers = {**call.message.headers, **(call.options.headers or {})}
        begun, spans, failure = perf_counter(), None, None
        if TRACED in headers or TRACING.tracer is not None:
            spans, headers = TRACING.call(f"{call.service}/{call.name}", headers, begun)  # type: ignore[assignment]
        span = spans.span if spans is not None else None
        timeout = call.options.timeout
        end = None if timeout is None else begun + timeout
        try:
            async with aclosing(self._exchange(call, headers)) as items:
                while True:
                    try:
                        async with _until(end, call):
                            item = await anext(items)
                    except StopAsyncIteration:
                        return
                    if span is not None and self.streamed:
                        span.items += 1
                        span.first = span.first or perf_counter()
                    yield item
        except DynamoError as error:
            failure = error
            raise
        finally:
            if spans is not None:
                spans.end(failure)

    async def _exchange(self, call: HttpCall, headers: Mapping[str, str]) -> AsyncGenerator[Any]:
        message = HttpMessage(call.message.method, call.base_url() + call.message.url, headers, call.message.body)
        own = HttpConnections() if call.connections is None else None
        try:
            async with aclosing((own or call.connections or HttpConnections()).answer(message)) as parts:  # type: ignore[type-var]
                head = await anext(parts)
                assert isinstance(head, HttpHead)
                media_type = head.headers.get("content-type", "").partition(";")[0].strip().lower()
                if head.status >= FAILED:
                    raise _error(call.name, head.status, b"".join([part async for part, _ in parts]))  # type: ignore[misc]
                chunked = "content-length" not in head.headers
                items = _items_of(media_type, parts) if chunked else None
                if items is None:
                    yield _decoded(media_type, b"".join([part async for part, _ in parts]))  # type: ignore[misc]
                    return
                self.streamed = True
                async for item in items:
                    yield item
        finally:
            if own is not None:
                own.close()


@asynccontextmanager
async def _until(end: float | None, call: HttpCall) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(None if end is None else end - perf_counter()):
            yield
    except TimeoutError:
        what = f"{call.name} was not answered within {call.options.timeout:g} s"
        raise DeadlineExceeded(what, remedy="set a longer timeout") from None


def _items_of(media_type: str, parts: Any) -> AsyncIterator[Any] | None:
    """The items of a stream; None for an answer with one value."""
    if media_type == "text/event-stream":
        return _events(_lines(parts))
    if media_type in _LINES:
        return (_json(line) async for line in _lines(parts) if line)
    if media_type.startswith("text/") or media_type == "application/octet-stream":
        return _chunks(parts, text=media_type.startswith("text/"))
    return None


async def _chunks(parts: Any, *, text: bool) -> AsyncIterator[Any]:
    decoder, chunk = codecs.getincrementaldecoder("utf-8")("replace"), b""
    async for part, ends in parts:
        chunk += part
        if ends and chunk:
            yield decoder.decode(chunk) if text else chunk
            chunk = b""


async def _lines(parts: Any) -> AsyncIterator[str]:
    rest = b""
    async for part, _ in parts:
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").removesuffix("\r")
    if rest:
        yield rest.decode(errors="replace")


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[Any]:
    """The data of server-sent events, see html.spec.whatwg.org/multipage/server-sent-events.html."""
    data: list[str] = []
    async for line in lines:
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            text, data = "\n".join(data), []
            if text != _DONE:
                yield _json(text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _decoded(media_type: str, body: bytes) -> Any:
    if media_type.startswith("text/"):
        return body.decode(errors="replace")
    if media_type == "application/json" or media_type.endswith("+json"):
        return _json(body.decode(errors="replace"))
    return body or None


def _error(name: str, status: int, body: bytes) -> DynamoError:
    text = body.decode(errors="replace")
    found = _json(text)
    if isinstance(found, dict):
        error = found.get("error", found.get("detail", text))
        text = str(error.get("message", text)) if isinstance(error, dict) else str(error)
    message = " ".join(text.split())[:LONGEST_MESSAGE]
    return EndpointError(f"{name} answered {status}: {message}", where=name, kind=f"HTTP {status}")


def http_message(target: str, payload: Any, headers: Mapping[str, str]) -> HttpMessage:
    """Returns the message of a request.

    Args:
        target: Method and path, such as `POST /generate`.
        payload: Plain data to send as JSON, or as the query of a GET; bytes to send unchanged; None for no body.
        headers: Headers by name.

    Raises:
        InvalidArgument: The payload cannot be encoded as JSON or as a query.
    """
    method, _, path = target.partition(" ")
    if method in WITHOUT_BODY and payload is not None:
        path, payload = with_query(path, payload), None
    if payload is None:
        return HttpMessage(method, path, dict(headers))
    if isinstance(payload, bytes):
        body = payload
    else:
        try:
            body = json.dumps(payload, ensure_ascii=False).encode()
        except (TypeError, ValueError) as error:
            raise InvalidArgument(f"the payload of {target} is not JSON: {error}", where=target) from None
    return HttpMessage(method, path, {"content-type": "application/json", **headers}, body)
