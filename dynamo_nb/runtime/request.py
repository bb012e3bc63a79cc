"""A request as the worker that serves it sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from dynamo_nb.runtime.call_context import REQUEST_ID, TRACE
from dynamo_nb.runtime.meters import Meter
from dynamo_nb.runtime.spans import TRACED
from dynamo_nb.runtime.tracing import Traced

if TYPE_CHECKING:
    from dynamo_nb.runtime.session import Session

Handler = Callable[[list[Any], dict[str, Any], "RequestContext"], Awaitable[Any] | AsyncIterator[Any]]


class RequestContext:
    """What a handler may know about the request that it serves.

    path: of the endpoint. headers: text that the caller sent beside the arguments. instance_id: the instance that
    serves it. deadline: when it is stopped, in the time of `time.monotonic`; None if it may take for ever.
    """

    __slots__ = (
        "_begun",
        "_carried",
        "_meter",
        "_room",
        "_session",
        "_span",
        "_stopped",
        "_stream",
        "_timer",
        "_waiter",
        "deadline",
        "headers",
        "path",
    )

    def __init__(self, session: Session, stream: int, path: str, headers: dict[str, str], meter: Meter) -> None:
        self._session, self._stream, self.path, self.headers = session, stream, path, headers
        self._meter, self._begun = meter, meter.begin()
        self._carried: dict[str, str] | None = None
        self._span: Traced | None = None
        self._stopped = ""  # why nobody waits for the answer any more
        self._room = 0
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.deadline: float | None = None

    @property
    def instance_id(self) -> int:
        return self._session.server.instance_id

    @property
    def request_id(self) -> str:
        """The caller's `request-id` header, or a name that is unique among this worker's requests."""
        return self.headers.get(REQUEST_ID) or f"{self.instance_id:x}-{self._session.number}-{self._stream}"

    @property
    def carried(self) -> dict[str, str]:
        """The headers that calls made for this request take along."""
        if self._carried is None:
            headers = self.headers
            self._carried = {name: headers[name] for name in TRACE if name in headers}
            self._carried[REQUEST_ID] = self.request_id
            if self._span is not None and self._span.kept is not None:
                self._carried[TRACED] = self._span.kept.header
        return self._carried

    def remaining(self) -> float | None:
        """The seconds that are left for the request; None if it may take for ever."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def is_stopped(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return bool(self._stopped)

    def _allow(self, room: int) -> None:
        self._room += room
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _allowed(self) -> int:
        """What the caller has allowed since this was last asked; waits for some."""
        while not self._room:
            self._waiter = self._session.loop.create_future()
            await self._waiter
        room, self._room = self._room, 0
        return room
