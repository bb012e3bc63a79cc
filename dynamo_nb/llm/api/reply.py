"""Answers to HTTP requests whose client may go away: an ASGI application for one request.

Not Starlette's StreamingResponse: that makes one send of each item, and looks for a client that has gone only while it
streams. Here what has arrived together is sent together, and work ends with its client at every stage.
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

from dynamo_nb.llm.api.answers import Answer, Choice
from dynamo_nb.llm.api.errors import ApiError, api_error
from dynamo_nb.llm.api.metrics import CANCELLED, Measured
from dynamo_nb.llm.messages import TextDelta

MAX_BODY: Final = 16 * 2**20  # bytes: two million tokens as JSON
JSON: Final = "application/json"
EVENTS: Final = "text/event-stream; charset=utf-8"

logger = logging.getLogger(__name__)


class Gone(Exception):
    """The client has closed its connection."""


class Reply(Response):
    """The answer to one request; a subclass says how it is made.

    measured: counts it. names: of parameters, as the client knows them and processors do not.
    """

    names: Mapping[str, str] = {}

    def __init__(self, measured: Measured) -> None:
        super().__init__()
        self.measured = measured
        self._lock = asyncio.Lock()  # choices of one answer send their events side by side
        self._status = 0  # once it was sent
        self._send: Send

    @abstractmethod
    async def answer(self, body: bytes) -> None:
        """Makes the answer, and sends it with `whole` or `events`. Cancelled when the client goes away."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._send = send
        status: int | str = CANCELLED
        try:
            try:
                body = await _body_of(scope, receive)
                await _while_there(receive, self.answer(body))
                status = self._status
            except Gone:
                pass
            except Exception as error:
                status = await self._failed(error)
        finally:
            self.measured.end(status)

    async def _failed(self, error: Exception) -> int:
        told = api_error(error)
        told.param = self.names.get(told.param or "", told.param)
        if told.status == 500:
            logger.error("a request failed", exc_info=error)
        if self._status:
            await self.events(told.event(), more=False)
        else:
            await self.whole(told.json(), status=told.status, headers=told.headers)
        return told.status

    async def whole(self, content: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Sends the whole answer."""
        await self._begin(status, {"content-type": JSON, "content-length": str(len(content)), **(headers or {})})
        await self._send({"type": "http.response.body", "body": content})

    async def events(self, events: bytes, *, more: bool = True) -> None:
        """Sends some events of a stream."""
        async with self._lock:
            if not self._status:
                # nginx and its like would else keep events back until a buffer is full
                await self._begin(200, {"content-type": EVENTS, "cache-control": "no-cache", "x-accel-buffering": "no"})
            await self._send({"type": "http.response.body", "body": events, "more_body": more})

    async def _begin(self, status: int, headers: dict[str, str]) -> None:
        self._status = status
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def stream(self, answer: Answer, calls: list[AsyncIterator[TextDelta]]) -> None:
        """Sends an answer event by event as its deltas come, one call for each choice."""

        async def follow(choice: Choice, deltas: AsyncIterator[TextDelta]) -> None:
            waiting: list[bytes] = []

            async def tell() -> None:
                if events := b"".join(waiting):
                    waiting.clear()
                    await self.events(events)

            try:
                async for delta in deltas:
                    self.measured.token()
                    waiting.append(answer.events(choice, delta))
                    if not getattr(deltas, "arrived", False):  # which only calls to other processes have
                        await tell()
            except Exception:
                await tell()  # what came before the error
                raise
            await tell()

        await _all([follow(choice, call) for choice, call in zip(answer.choices, calls, strict=True)], calls)
        await self.events(answer.last(), more=False)

    async def collect(self, answer: Answer, calls: list[AsyncIterator[TextDelta]]) -> None:
        """Sends an answer when it is there in the whole."""

        async def follow(choice: Choice, deltas: AsyncIterator[TextDelta]) -> None:
            async for delta in deltas:
                self.measured.token()
                choice.keep(delta)

        await _all([follow(choice, call) for choice, call in zip(answer.choices, calls, strict=True)], calls)
        await self.whole(answer.whole())


async def _all(work: list[Coroutine[Any, Any, None]], calls: list[Any]) -> None:
    """Does all of it, or, where one part fails, none; the calls are closed in any case."""
    async with AsyncExitStack() as stack:
        for call in calls:
            stack.push_async_callback(call.aclose)
        if len(work) == 1:  # nearly always: without a task of its own
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
    """Raises ApiError where it is too large, before all of it has come."""
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    size, parts, more = int(declared) if declared.isdigit() else 0, [], True
    came = 0
    while more and max(size, came) <= MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        came += len(parts[-1])
        more = message.get("more_body", False)
    if max(size, came) > MAX_BODY:
        raise ApiError(f"The body is too large: {MAX_BODY} bytes are taken.", status=413, code="request_too_large")
    return b"".join(parts)


async def _while_there(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Does the work; raises Gone, and has cancelled it, when the client went away before."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.create_task(work), asyncio.create_task(gone())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        left = not working.done()
        working.cancel()
        watching.cancel()
        await asyncio.wait({working, watching})
    if left and (working.cancelled() or working.exception() is not None):
        raise Gone
    await working
