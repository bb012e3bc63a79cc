"""A request, as the handler that serves it sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol


class RequestContext(Protocol):
    """The request that a handler serves.

    Attributes:
        path: `namespace/component/endpoint`.
        headers: Text that the caller sent with the arguments.
        deadline: Time of `time.monotonic` at which the request is cancelled, or None.
    """

    path: str
    headers: dict[str, str]
    deadline: float | None

    @property
    def instance_id(self) -> int:
        """The instance that serves the request."""
        ...

    @property
    def request_id(self) -> str:
        """The caller's `request-id` header, or a name that is unique among this worker's requests."""
        ...

    @property
    def carried(self) -> dict[str, str]:
        """The headers that calls made for this request carry."""
        ...

    def remaining(self) -> float | None:
        """Returns the seconds until the deadline, or None without a deadline."""
        ...

    def is_stopped(self) -> bool:
        """Returns True if the request was cancelled, has expired, or lost its caller."""
        ...


Handler = Callable[[list[Any], dict[str, Any], RequestContext], Awaitable[Any] | AsyncIterator[Any]]
"""Serves an endpoint. Takes positional arguments, keyword arguments and the context. Returns an awaitable (one answer)
or an async iterator (a stream)."""
