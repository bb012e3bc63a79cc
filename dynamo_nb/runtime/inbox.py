"""The inbox of one request: what has arrived for it and has not been consumed.

There is no task and no queue object per call. The connection puts frames into the inbox and wakes its one reader.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from dynamo_nb.errors import DynamoError
from dynamo_nb.runtime.meters import Meter
from dynamo_nb.runtime.wire import CREDIT, CREDIT_STEP, ITEM_COST


class CreditMarker(NamedTuple):
    """Marker in the queue of items. When the caller reaches it, everything before it is consumed: send CREDIT."""

    credit: int


class InboxConnection(Protocol):
    """The interface of a connection for the inboxes of its requests.

    Attributes:
        loop: The event loop of the connection.
        thread: Identifier of the loop's thread.
    """

    loop: asyncio.AbstractEventLoop
    thread: int

    def send(self, message: tuple[Any, ...]) -> int:
        """Sends a frame."""
        ...

    def cancel(self, stream: int) -> None:
        """Cancels a request."""
        ...


class Inbox:
    """The data that arrived for one request.

    Attributes:
        items: Items that were not consumed yet, with CreditMarkers between them. `answer` uses no markers.
        started: True once an item has arrived.
        done: True if nothing more will arrive.
        error: The error that ended the request, or None.
        retry: True if the request may be sent to another instance.
        single: True if the one item is the answer, and not an item of a stream.
        meter: Counts what arrives.
    """

    __slots__ = (
        "_collecting",
        "_connection",
        "_start",
        "_stream",
        "_timer",
        "_uncredited",
        "_waiter",
        "done",
        "error",
        "items",
        "meter",
        "retry",
        "single",
        "started",
    )

    def __init__(self, connection: InboxConnection, stream: int, meter: Meter, start: float) -> None:
        self._connection, self._stream = connection, stream
        self.meter, self._start = meter, start
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._collecting = False  # `answer` takes all items at the end, so that only the end wakes it
        self._uncredited = 0
        self.items: deque[Any] = deque()
        self.started = self.done = self.single = self.retry = False
        self.error: DynamoError | None = None

    def put(self, value: Any, length: int) -> None:
        """Adds an item whose frame had `length` bytes."""
        meter = self.meter
        meter.items += 1
        meter.bytes_in += length
        if not self.started:
            self.started = True
            meter.first_item(self._start)
        self.items.append(value)
        self._uncredited += length + ITEM_COST
        if self._uncredited >= CREDIT_STEP:
            self._add_marker()
        if self._waiter is not None and not self._collecting:
            self._wake()

    def _add_marker(self) -> None:
        marker, self._uncredited = CreditMarker(self._uncredited), 0
        if self._collecting:
            self.send_credit(marker)
        else:
            self.items.append(marker)

    def send_credit(self, marker: CreditMarker) -> None:
        """Allows the worker to send as much as was consumed before the marker."""
        if not self.done:
            self._connection.send((CREDIT, self._stream, marker.credit))

    def end(self, error: DynamoError | None = None, *, retry: bool = False) -> None:
        """Notes that nothing more will arrive.

        Args:
            error: The error that ended the request, or None.
            retry: True if the request may be sent to another instance.
        """
        self.done, self.error, self.retry = True, error, retry
        if self._timer is not None:
            self._timer.cancel()
        if self._waiter is not None:
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def wait(self) -> None:
        """Waits until something arrives."""
        waiter = self._waiter = self._connection.loop.create_future()
        await waiter

    def end_in(self, seconds: float, error: Callable[[], DynamoError]) -> None:
        """Cancels the request with an error after some seconds, unless it has ended before."""
        self._timer = self._connection.loop.call_later(seconds, self._expire, error)

    def _expire(self, error: Callable[[], DynamoError]) -> None:
        if not self.done:
            self._connection.cancel(self._stream)
            self.end(error())

    async def answer(self) -> Any:
        """Returns the answer, or the list of a stream's items. Raises the error that ended the request."""
        self._collecting = True
        if not self.done:
            await self.wait()
        if self.error is not None:
            raise self.error
        return self.items[0] if self.single else list(self.items)

    def close(self) -> None:
        """Cancels the request unless it has ended. Safe from any thread, so that an iterator can be collected."""
        if self.done:
            return
        if threading.get_ident() == self._connection.thread:
            self._connection.cancel(self._stream)
        elif not self._connection.loop.is_closed():
            self._connection.loop.call_soon_threadsafe(self._connection.cancel, self._stream)
        self.done = True
        if self._timer is not None:
            self._timer.cancel()
