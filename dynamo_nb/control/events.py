"""The history of a deployment: events, and errors of the services.

The supervisor builds these values and sends them over the control socket. They are immutable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

EventKind = Literal[
    "started",
    "stopping",
    "stopped",
    "detached",
    "updated",
    "scaled",
    "linked",
    "unlinked",
    "restarted",
    "change failed",
    "worker ended",
    "worker unhealthy",
    "worker restarted",
    "crash loop",
    "NATS lost",
    "NATS back",
]
"""`restarted`: a user restarted a service. `worker restarted`: a new worker replaces a worker that ended by itself."""

BAD: frozenset[EventKind] = frozenset({"change failed", "worker ended", "worker unhealthy", "crash loop", "NATS lost"})
"""Kinds of events that report a failure."""


MOST_EVENTS: Final = 1000
"""Number of latest events that supervisor and clients keep."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a deployment, such as the end of a worker.

    Attributes:
        number: position among the events of the deployment, from 1.
        at: time of the event, in seconds since the epoch.
        kind: see `EventKind`.
        text: description in one line.
        service: the service concerned, or "".
        worker: the worker concerned, such as `Backend[0]`, or "".
        detail: more lines, such as the end of a worker's log, or "".
    """

    number: int
    at: float
    kind: EventKind
    text: str
    service: str = ""
    worker: str = ""
    detail: str = ""

    @property
    def bad(self) -> bool:
        """True if the event reports a failure."""
        return self.kind in BAD


class ServiceError(msgspec.Struct, frozen=True, kw_only=True):
    """A distinct error of an endpoint: one exception class, on one line of code, with similar messages.

    Attributes:
        id: identifies the error in all workers of the service.
        service: the service.
        endpoint: the endpoint, or method and path of a route that is not an endpoint.
        kind: class of the exception.
        message: shortened message of the last occurrence.
        line: line of the service's code that raised it, such as `cell 3 "Backend", line 4`; "" if there is none.
        raised_by: the endpoint of another service that raised it, such as `Retriever.search`; "" if this service did.
        count: number of requests that ended with it.
        first: time of the first occurrence, in seconds since the epoch.
        last: time of the last occurrence, in seconds since the epoch.
        traceback: traceback of the first occurrence, with cells in place of generated files; "" with `raised_by`.
    """

    id: str
    service: str
    endpoint: str
    kind: str
    message: str
    line: str = ""
    raised_by: str = ""
    count: int = 1
    first: float = 0.0
    last: float = 0.0
    traceback: str = ""

    @property
    def summary(self) -> str:
        """Class and message."""
        return f"{self.kind}: {self.message}" if self.message else self.kind


def event_from(data: Any) -> Event:
    """Reads an event from plain data."""
    return msgspec.convert(data, Event)


def events_from(data: Sequence[Any]) -> list[Event]:
    """Reads events from plain data."""
    return msgspec.convert(data, list[Event])


def errors_from(data: Sequence[Any]) -> list[ServiceError]:
    """Reads errors from plain data."""
    return msgspec.convert(data, list[ServiceError])
