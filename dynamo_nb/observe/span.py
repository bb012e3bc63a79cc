"""The spans of a trace as a tree: what each process recorded of one request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Try:
    """One attempt of a call.

    Attributes:
        worker: id of the worker that was called.
        begin: start, in seconds since the trace began.
        end: end, or None.
        error: code of the error that ended the attempt, or empty.
    """

    worker: str
    begin: float
    end: float | None
    error: str


@dataclass(frozen=True)
class TraceSpan:
    """One call, as its caller sees it, or one request, as its worker sees it.

    Attributes:
        id: id of the span.
        name: the endpoint, such as `Backend.generate`, or the HTTP route, such as `Frontend POST /generate`.
        kind: "client" for a call, "server" for a request.
        service: whose process recorded the span; empty for the process that began the trace.
        worker: id of that worker, or empty.
        begin: start, in seconds since the trace began.
        first: time of a stream's first item, or None.
        end: end, or None if it had not ended when the trace was taken.
        items: number of items of a stream.
        bytes_in: bytes received.
        bytes_out: bytes sent.
        error: code of the error that ended it, or empty.
        what: message of that error.
        stopped: reason why the answer was no longer needed, or empty.
        notes: notes of the handler, see `trace_note`.
        tries: attempts of a call.
        children: spans below this one, in order of time.
    """

    id: str
    name: str
    kind: Literal["client", "server"]
    service: str
    worker: str
    begin: float
    first: float | None
    end: float | None
    items: int
    bytes_in: int
    bytes_out: int
    error: str
    what: str
    stopped: str
    notes: Mapping[str, Any]
    tries: tuple[Try, ...]
    children: tuple[TraceSpan, ...]

    @property
    def duration(self) -> float | None:
        """Seconds from begin to end; None if it had not ended."""
        return None if self.end is None else self.end - self.begin

    def walk(self) -> Iterator[TraceSpan]:
        """Yields this span and all spans below it, depth first, in order of time."""
        yield self
        for child in self.children:
            yield from child.walk()
