"""The context that a call carries besides its arguments: request id, trace, and deadline.

A call made by a handler carries the context of the request that the handler serves. The context is stored in a context
variable of the task, so the code between handler and call need not pass it on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.runtime.tracing import TRACING
from dynamo_nb.sdk.call import is_duration

REQUEST_ID: Final = "request-id"
TRACE: Final = ("traceparent", "tracestate", "baggage")  # of the W3C's recommendations
TIMEOUT: Final = "timeout"  # seconds left when the request is sent: the clocks of two hosts need not agree


class CallContext(Protocol):
    """Values that a call takes over from its surroundings."""

    @property
    def carried(self) -> Mapping[str, str]:
        """Headers."""
        ...

    @property
    def deadline(self) -> float | None:
        """Time of `time.monotonic` at which the call ends, or None."""
        ...


class _Scope:
    def __init__(self, carried: Mapping[str, str], deadline: float | None) -> None:
        self.carried, self.deadline = carried, deadline


CURRENT: ContextVar[CallContext | None] = ContextVar("dynamo_nb_request", default=None)


def earlier(one: float | None, other: float | None) -> float | None:
    """Returns the earlier of two deadlines; None means no deadline."""
    return min(one, other) if one is not None and other is not None else one if other is None else other


@contextmanager
def request_scope(headers: Mapping[str, str] | None = None, timeout: float | None = None) -> Iterator[None]:
    """Adds headers and a deadline to all calls made inside.

    Both are combined with the context that is already carried; a deadline can only become earlier.

    Args:
        headers: Text by name.
        timeout: Seconds within which all calls inside must be answered.

    Raises:
        InvalidArgument: A header or the timeout cannot be used.

    Example:
        Two seconds for the calls inside, under a known request id::

            with request_scope({"request-id": "r-1"}, timeout=2.0):
                answer = await self.backend.generate(text)
    """
    if timeout is not None and not is_duration(timeout):
        raise InvalidArgument(f"timeout={timeout!r} is not a number of seconds", where="request_scope(…)")
    outer = CURRENT.get()
    carried = {**(outer.carried if outer else {}), **checked_headers(headers or {})}
    deadline = earlier(outer.deadline if outer else None, None if timeout is None else time.monotonic() + timeout)
    token = CURRENT.set(_Scope(carried, deadline))
    try:
        yield
    finally:
        CURRENT.reset(token)


@contextmanager
def no_request() -> Iterator[None]:
    """Removes the context for all calls made inside: for work that continues after its request has ended."""
    token = CURRENT.set(None)
    try:
        with TRACING.detached():
            yield
    finally:
        CURRENT.reset(token)


def checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Returns the headers of a user. Raises InvalidArgument if they cannot be sent."""
    if not isinstance(headers, Mapping):
        raise InvalidArgument(f"headers must be a mapping of text to text, not {headers!r:.80}", where="headers")
    for name, text in headers.items():
        if type(name) is not str or type(text) is not str:
            raise InvalidArgument(f"a header must be text, with text as name: {name!r}: {text!r:.80}", where="headers")
    if TIMEOUT in headers:
        raise InvalidArgument(f"the header {TIMEOUT!r} is reserved", remedy="pass timeout=… instead")
    return headers


def timeout_of(headers: Mapping[str, str]) -> float:
    """Returns the seconds in the header TIMEOUT. Raises ValueError if it is not a finite number."""
    timeout = float(headers[TIMEOUT])
    if not math.isfinite(timeout):
        raise ValueError(f"a timeout of {timeout} s")
    return timeout
