"""A request that a worker is answering."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterable
from typing import Any, Final, Protocol

from dynamo_nb.errors import DynamoError, EndpointError, class_of, from_wire, message_of, to_wire
from dynamo_nb.runtime.call_context import CURRENT, REQUEST_ID, TRACE
from dynamo_nb.runtime.call_errors import handler_name, to_dynamo_error
from dynamo_nb.runtime.meters import Meter
from dynamo_nb.runtime.recorded_errors import ERRORS
from dynamo_nb.runtime.request import Handler
from dynamo_nb.runtime.spans import TRACED
from dynamo_nb.runtime.tracing import TRACING, RequestSpans
from dynamo_nb.runtime.wire import END, ERROR, ITEM, ITEM_COST, WINDOW
from dynamo_nb.sdk.call import Call
from dynamo_nb.sdk.tagged import Outgoing

FAIR_SHARE: Final = 64  # items that one stream may write before the loop runs other tasks

logger = logging.getLogger(__name__)


class RequestConnection(Protocol):
    """The interface of a connection for the requests that arrived on it.

    Attributes:
        loop: The event loop of the connection.
        paused: True while the caller reads more slowly than this end writes.
        instance_id: The instance that serves the request.
        number: Number of the connection among those of this worker.
        requests: The open requests of the connection, each with its task, by stream.
    """

    loop: asyncio.AbstractEventLoop
    paused: bool
    instance_id: int
    number: int
    requests: dict[int, tuple[asyncio.Task[None], OpenRequest]]

    def send(self, message: tuple[Any, ...]) -> int:
        """Sends a frame."""
        ...

    async def writable(self) -> None:
        """Waits while `paused`."""
        ...


class OpenRequest:
    """A request that a worker is answering. Its handler sees it as its RequestContext.

    Attributes:
        meter: Counts the request.
        timer: Cancels the request at its deadline.
        stopped: Reason why the answer is no longer needed: the code of an error, CANCELLED or CALLER_GONE.
    """

    __slots__ = (
        "_carried",
        "_connection",
        "_credit",
        "_spans",
        "_start",
        "_stream",
        "_waiter",
        "deadline",
        "headers",
        "meter",
        "path",
        "stopped",
        "timer",
    )

    def __init__(
        self, connection: RequestConnection, stream: int, path: str, headers: dict[str, str], meter: Meter
    ) -> None:
        self._connection, self._stream, self.path, self.headers = connection, stream, path, headers
        self.meter, self._start = meter, meter.begin()
        self._carried: dict[str, str] | None = None
        self._spans: RequestSpans | None = None
        self._credit = 0
        self._waiter: asyncio.Future[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.deadline: float | None = None
        self.stopped = ""

    # --- what the handler sees

    @property
    def instance_id(self) -> int:
        return self._connection.instance_id

    @property
    def request_id(self) -> str:
        return self.headers.get(REQUEST_ID) or f"{self.instance_id:x}-{self._connection.number}-{self._stream}"

    @property
    def carried(self) -> dict[str, str]:
        if self._carried is None:
            headers = self.headers
            self._carried = {name: headers[name] for name in TRACE if name in headers}
            self._carried[REQUEST_ID] = self.request_id
            if self._spans is not None and self._spans.span is not None:
                self._carried[TRACED] = self._spans.span.header
        return self._carried

    def remaining(self) -> float | None:
        return None if self.deadline is None else self.deadline - time.monotonic()

    def is_stopped(self) -> bool:
        return bool(self.stopped)

    # --- the answer

    async def answer(self, handler: Handler, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Runs the handler and sends its answer, or its error."""
        CURRENT.set(self)  # in the context of this task
        connection, stream, meter = self._connection, self._stream, self.meter
        spans, failure = None, None
        try:
            if TRACING.tracer is not None or TRACED in self.headers:
                spans = self._spans = TRACING.serve(self.path, self.headers, self.request_id, self._start)
                meter = self.meter = spans.meter(meter)
            result: Any = handler(args, kwargs, self)
            if not isinstance(result, AsyncIterable):
                result = await result
                if isinstance(result, Call):  # `return self.backend.ask(…)`: awaited for the handler
                    result = await result
            if isinstance(result, AsyncIterable):
                await self._send_items(result, handler)
                end: tuple[Any, ...] = (END, stream)
            else:
                pack = getattr(handler, "pack", None)
                end = (END, stream, result if pack is None else Outgoing(result, pack))
            if connection.paused:
                await connection.writable()
            if not self.stopped:
                if spans is not None:
                    spans.answered()
                try:
                    meter.bytes_out += connection.send(end)
                except (TypeError, ValueError, OverflowError, RecursionError) as error:
                    raise _cannot_be_sent(error, handler) from None
                meter.end(self._start)
        except BaseException as error:
            if self.stopped:
                if not isinstance(error, asyncio.CancelledError):
                    logger.debug("a cancelled request raised", exc_info=True)
            else:
                # SystemExit too: raised further, it would end the worker and the requests of other callers.
                # As the caller sees it: its own class may have other attributes than an error has.
                failure = from_wire(to_wire(to_dynamo_error(error, handler)))
                self.fail(failure, error, handler_name(handler))
        finally:
            if self.timer is not None:
                self.timer.cancel()
            connection.requests.pop(stream, None)
            if spans is not None:
                spans.end(failure, self.stopped)

    async def _send_items(self, items: AsyncIterable[Any], handler: Handler) -> None:
        connection, stream, meter = self._connection, self._stream, self.meter
        send, pack = connection.send, getattr(handler, "pack", None)
        count, credit = 0, WINDOW
        try:
            async for item in items:
                if self.stopped:
                    return
                try:
                    length = send((ITEM, stream, item if pack is None else Outgoing(item, pack)))
                except (TypeError, ValueError, OverflowError, RecursionError) as error:
                    raise _cannot_be_sent(error, handler) from None
                meter.items += 1
                meter.bytes_out += length
                credit -= length + ITEM_COST
                count += 1
                if count == 1:
                    meter.first_item(self._start)
                if connection.paused:
                    await connection.writable()
                elif count % FAIR_SHARE == 0:
                    await asyncio.sleep(0)
                while credit <= 0:
                    credit += await self._new_credit()
        finally:
            if close := getattr(items, "aclose", None):
                await close()

    def fail(self, error: DynamoError, raised: BaseException | None = None, handler: str = "") -> None:
        """Sends an error as the answer, and records it.

        Args:
            error: The error for the caller.
            raised: The exception in this process, or None.
            handler: Name of the handler that raised it.
        """
        ERRORS.record(self.path, error, raised, handler=handler)
        if self._spans is not None:
            self._spans.answered(error)
        self.meter.bytes_out += self._connection.send((ERROR, self._stream, to_wire(error), False))
        self.meter.end(self._start, error.code)

    # --- flow control

    def add_credit(self, credit: int) -> None:
        """Adds credit that the caller has sent."""
        self._credit += credit
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _new_credit(self) -> int:
        """Returns the credit added since the last call; waits until there is some."""
        while not self._credit:
            self._waiter = self._connection.loop.create_future()
            await self._waiter
        credit, self._credit = self._credit, 0
        return credit


def _cannot_be_sent(error: Exception, handler: Handler) -> EndpointError:
    return EndpointError(
        f"the answer cannot be sent: {message_of(error)}",
        where=handler_name(handler),
        remedy="return plain data, models, dataclasses or arrays",
        kind=class_of(error),
    )
