"""Bounds of the connections of an HTTP server, which anyone who reaches the address may open and hold."""

from __future__ import annotations

import resource
from collections.abc import Iterable
from typing import Any, Final

REQUEST_LIMIT: Final = 60.0
"""Seconds for the line and the headers of a request, and between two parts of its body; nginx has the same limits."""


class WaitingTime:
    """The time that a connection has waited for its client.

    Args:
        keep_alive: Seconds that it may wait for the first byte of a request.
        now: Time of its start.
    """

    def __init__(self, keep_alive: float, now: float) -> None:
        self._keep_alive = keep_alive
        self.answered(now)

    def answered(self, now: float) -> None:
        """Waits for a new request from now on."""
        self.since, self._until, self._begun = now, now + self._keep_alive, False

    def received(self, now: float, *, complete: bool) -> None:
        """Notes that bytes have come. complete: True if the headers of a request have come in full."""
        if complete or not self._begun:
            self._until = now + REQUEST_LIMIT
        self._begun = not complete

    def is_over(self, now: float) -> bool:
        return now > self._until


def waits_for_client(connection: Any) -> bool:
    """True if a connection of uvicorn waits for a request, or for more of the body of one."""
    if _is_idle(connection):
        return True
    cycle = connection.cycle
    return cycle.more_body and not cycle.waiting_for_100_continue and not connection.flow.read_paused


def most_connections() -> int:
    """The number of connections that leaves half of the file descriptors to the service."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**16 if soft == resource.RLIM_INFINITY else max(soft // 2, 1)


def longest_waiting(connections: Iterable[Any], new: Any) -> Any:
    """The connection that has waited longest for a request, then for more of a body; `new` if all others are busy."""
    waiting = [one for one in connections if one is not new and waits_for_client(one)]
    return min(waiting, key=lambda one: (not _is_idle(one), one.waiting.since), default=new)


def _is_idle(connection: Any) -> bool:
    return connection.cycle is None or connection.cycle.response_complete
