"""What travels with a request beside its arguments: its name, its trace, and the time it may take.

A call made while a request is served carries that request's metadata along: in the context of the task, so that code
in between need not know of it.
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
TIMEOUT: Final = "timeout"  # seconds that are left when the request is sent: clocks of two hosts need not agree


class Metadata(Protocol):
    """What a call takes along. deadline: in the time of `time.monotonic`."""

    @property
    def carried(self) -> Mapping[str, str]: ...
    @property
    def deadline(self) -> float | None: ...


class _Scope:
    def __init__(self, carried: Mapping[str, str], deadline: float | None) -> None:
        self.carried, self.deadline = carried, deadline


CURRENT: ContextVar[Metadata | None] = ContextVar("dynamo_nb_request", default=None)


def earlier(one: float | None, other: float | None) -> float | None:
    return min(one, other) if one is not None and other is not None else one if other is None else other


@contextmanager
def request_scope(headers: Mapping[str, str] | None = None, timeout: float | None = None) -> Iterator[None]:
    """Calls made inside carry these headers, and must all be answered within `timeout` seconds.

    Both come on top of what is already carried; a deadline can only become earlier.

        with request_scope({"request-id": "r-1"}, timeout=2.0):
            answer = await self.backend.generate(text)
    """
    if timeout is not None and not is_duration(timeout):
        raise InvalidArgument(f"timeout={timeout!r} is no number of seconds", where="request_scope(…)")
    outer = CURRENT.get()
    carried = {**(outer.carried if outer else {}), **checked(headers or {})}
    deadline = earlier(outer.deadline if outer else None, None if timeout is None else time.monotonic() + timeout)
    token = CURRENT.set(_Scope(carried, deadline))
    try:
        yield
    finally:
        CURRENT.reset(token)


@contextmanager
def no_request() -> Iterator[None]:
    """Calls made inside carry nothing: for work that goes on after the request that began it."""
    token = CURRENT.set(None)
    try:
        with TRACING.apart():
            yield
    finally:
        CURRENT.reset(token)


def checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Headers that a person gave. Raises InvalidArgument for what cannot travel."""
    if not isinstance(headers, Mapping):
        raise InvalidArgument(f"headers are texts by name, not {headers!r:.80}", where="headers")
    for name, text in headers.items():
        if type(name) is not str or type(text) is not str:
            raise InvalidArgument(f"a header is a text by name, not {name!r}: {text!r:.80}", where="headers")
    if TIMEOUT in headers:
        raise InvalidArgument(f"the header {TIMEOUT!r} is the runtime's own", remedy="say timeout=…")
    return headers


def timeout_of(headers: Mapping[str, str]) -> float:
    """The seconds that a request may take, of headers with a TIMEOUT. Raises ValueError for what is no such number."""
    timeout = float(headers[TIMEOUT])
    if not math.isfinite(timeout):
        raise ValueError(f"a timeout of {timeout} s")
    return timeout
