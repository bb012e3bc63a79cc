"""The events of a deployment, in the supervisor."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from dynamo_nb.control.events import MOST_EVENTS, Event, EventKind

LONGEST_TEXT: Final = 500
LONGEST_DETAIL: Final = 8000
"""Maximum lengths in an event, in characters. A longer `text` is cut at its end, a longer `detail` at its start."""


class EventLog:
    """Collects events, and publishes each of them.

    Attributes:
        on_event: called with each new event.
    """

    def __init__(self) -> None:
        self.on_event: Callable[[Event], None] = lambda _: None
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._last = 0
        self._closed = False

    def close(self) -> None:
        """Ignores all further events. The ends of workers are not failures while a deployment is being stopped."""
        self._closed = True

    def add(self, kind: EventKind, text: str, *, service: str = "", worker: str = "", detail: str = "") -> None:
        """Adds an event with the current time. The arguments are the attributes of `Event`."""
        if self._closed:
            return
        self._last += 1
        event = Event(
            number=self._last,
            at=time.time(),
            kind=kind,
            text=text[:LONGEST_TEXT],
            service=service,
            worker=worker,
            detail=detail[-LONGEST_DETAIL:],
        )
        self._events.append(event)
        self.on_event(event)

    async def read(self, after: int = 0) -> list[dict[str, Any]]:
        """Returns events as plain data, oldest first.

        Args:
            after: only events with a greater number.
        """
        return [msgspec.to_builtins(event) for event in self._events if event.number > after]
