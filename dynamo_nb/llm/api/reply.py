"""An HTTP response (ASGI) that stops its work when the client disconnects.

Starlette's StreamingResponse sends each item separately, and notices a closed connection only while it streams. Here
items that arrived together are sent together, and a closed connection ends the work at every stage.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dynamo_nb.llm.api.answers import Answer
from dynamo_nb.llm.api.choice import Choice
from dynamo_nb.llm.api.errors import ApiError, api_error
from dynamo_nb.llm.api.metrics import CANCELLED, RequestTimer
from dynamo_nb.llm.messages import TextDelta
from dynamo_nb.runtime.http_request import note_exception

MAX_BODY: Final = 16 * 2**20  # bytes: two million tokens as JSON
JSON: Final = "application/json"
EVENTS: Final = "text/event-stream; charset=utf-8"

logger = logging.getLogger(__name__)


class ClientGone(Exception):
    """The client has closed its connection."""


class Reply(Response):
    """The reply to one request. A subclass implements `answer`.

    Args:
        timer: Measures the request.

    Attributes:
        param_names: Names of parameters in processors' errors -> their names in the request.
    """

    param_names: Mapping[str, str] = {}

    def __init__(self, timer: RequestTimer) -> None:
        super().__init__()
        self.timer = timer
        self._lock = asyncio.Lock()  # the choices of one answer send their events concurrently
        self._status = 0  # 0 until it was sent
        self._send: Send

    @abstractmethod
    async def answer(self, data: bytes) -> None:
        """Answers the request with `whole` or `events`. Cancelled when the client closes the connection.

        Args:
            data: The body of the request.
        """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._send = send
        status: int | str = CANCELLED
        try:
            try:
                data = await _body_of(scope, receive)
                await _while_connected(receive, self.answer(data))
                status = self._status
            except ClientGone:
                pass
            except Exception as exception:
                status = await self._fail(exception)
        finally:
            self.timer.end(status)

    async def _fail(self, exception: Exception) -> int:
        error = api_error(exception)
        error.param = self.param_names.get(error.param or "", error.param)
        if error.status >= 500:
            note_exception(exception)
        if error.status == 500:
            logger.error("a request failed", exc_info=exception)
        if self._status:
            await self.events(error.event(), more=False)
        else:
            await self.whole(error.json(), status=error.status, headers=error.headers)
        return error.status

    async def whole(self, content: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Sends a complete answer.

        Args:
            content: The body, as JSON.
            status: The HTTP status.
            headers: Additional headers.
        """
        await self._begin(status, {"content-type": JSON, "content-length": str(len(content)), **(headers or {})})
        await self._send({"type": "http.response.body", "body": content})

    async def events(self, events: bytes, *, more: bool = True) -> None:
        """Sends events of a stream.

        Args:
            events: One or more events.
            more: False for the last ones.
        """
        async with self._lock:
            if not self._status:
                # Without the last header, proxies such as nginx hold events back until a buffer is full.
                await self._begin(200, {"content-type": EVENTS, "cache-control": "no-cache", "x-accel-buffering": "no"})
            await self._send({"type": "http.response.body", "body": events, "more_body": more})

    async def _begin(self, status: int, headers: dict[str, str]) -> None:
        self._status = status
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def stream(self, answer: Answer, calls: list[AsyncIterator[TextDelta]]) -> None:
        """Sends an answer event by event.

        Args:
            answer: Writes the events.
            calls: The deltas of each choice.
        """

        async def follow(choice: Choice, deltas: AsyncIterator[TextDelta]) -> None:
            waiting: list[bytes] = []

            async def flush() -> None:
                if events := b"".join(waiting):
                    waiting.clear()
                    await self.events(events)

            try:
                async for delta in deltas:
                    self.timer.token()
                    waiting.append(answer.events(choice, delta))
                    if not getattr(deltas, "arrived", False):  # only calls to other processes have `arrived`
                        await flush()
            except Exception:
                await flush()  # events from before the error
                raise
            await flush()

        await _run_all([follow(choice, call) for choice, call in zip(answer.choices, calls, strict=True)], calls)
        await self.events(answer.last(), more=False)

    async def collect(self, answer: Answer, calls: list[AsyncIterator[TextDelta]]) -> None:
        """Sends an answer when it is complete.

        Args:
            answer: Writes the answer.
            calls: The deltas of each choice.
        """

        async def follow(choice: Choice, deltas: AsyncIterator[TextDelta]) -> None:
            async for delta in deltas:
                self.timer.token()
                choice.add(delta)

        await _run_all([follow(choice, call) for choice, call in zip(answer.choices, calls, strict=True)], calls)
        await self.whole(answer.whole())


async def _run_all(work: list[Coroutine[Any, Any, None]], calls: list[Any]) -> None:
    """Runs all coroutines; the first error cancels the others. Closes the calls in any case."""
    async with AsyncExitStack() as stack:
        for call in calls:
            stack.push_async_callback(call.aclose)
        if len(work) == 1:  # nearly always: no task is needed
            await work[0]
            return
        tasks = [asyncio.create_task(part) for part in work]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _body_of(scope: Scope, receive: Receive) -> bytes:
    """The body of the request. Raises ApiError for one that is too large, before all of it has arrived."""
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    size, parts, more = int(declared) if declared.isdigit() else 0, [], True
    received = 0
    while more and max(size, received) <= MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        received += len(parts[-1])
        more = message.get("more_body", False)
    if max(size, received) > MAX_BODY:
        raise ApiError(f"The body is too large; the limit is {MAX_BODY} bytes.", status=413, code="request_too_large")
    return b"".join(parts)


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Does the work. If the client closes the connection first, cancels the work and raises ClientGone."""

    async def disconnect() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.create_task(work), asyncio.create_task(disconnect())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        is_unfinished = not working.done()
        working.cancel()
        watching.cancel()
        await asyncio.wait({working, watching})
    if is_unfinished and (working.cancelled() or working.exception() is not None):
        raise ClientGone
    await working
