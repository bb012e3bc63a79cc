"""A Trace: one request as it went through the services, put together from the spans that it left in each process."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.runtime.spans import SPANS, TRACED, new_trace
from dynamo_nb.sdk.call import Call, LocalCall

Told = Mapping[str, Any]
"""A span as its process tells it."""


@dataclass(frozen=True)
class Try:
    """One attempt of a call: the worker it went to, when, and the code of the error that ended it, "" if none did."""

    worker: str
    begin: float
    end: float | None
    error: str


@dataclass(frozen=True)
class Span:
    """One call as its caller saw it (`client`), or one request as its worker did (`server`).

    name: what was called, `Backend.generate`. service, worker: whose process it was, "" for the one that began the
    trace. Times are seconds since the trace began; end is None if it had not ended when the trace was taken. first: the
    first item of a stream. error: the code of the error it ended with, what: its message. stopped: why nobody waited
    for the answer any more. notes: of `trace_note`.
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
    children: tuple[Span, ...]

    @property
    def duration(self) -> float | None:
        """Seconds; None if it had not ended."""
        return None if self.end is None else self.end - self.begin

    def walk(self) -> Iterator[Span]:
        """The span and all below it, depth first, in order of time."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Trace:
    """One request across services; shown as a waterfall.

    roots: the call itself and, after it, the spans whose parent was lost with its worker. started: seconds since the
    epoch. error: what the request ended with, None if it was answered.
    """

    id: str
    started: float
    roots: tuple[Span, ...]
    error: DynamoError | None
    answer: Any

    @property
    def value(self) -> Any:
        """What the call gives when it is awaited: the answer, or the list of a stream's items. Raises its error."""
        if self.error is not None:
            raise self.error
        return self.answer

    @property
    def root(self) -> Span:
        return self.roots[0]

    @property
    def duration(self) -> float:
        """Seconds that the call took, as its caller saw it."""
        return self.root.duration or 0.0

    @property
    def spans(self) -> tuple[Span, ...]:
        """Every span, depth first, in order of time."""
        return tuple(span for root in self.roots for span in root.walk())

    def __str__(self) -> str:
        from dynamo_nb.observe.waterfall_text import text

        return text(self)

    __repr__ = __str__

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from dynamo_nb.observe.waterfall_svg import svg

        return {"text/plain": str(self), "image/svg+xml": svg(self)}


async def traced(call: Call[Any], gather: Callable[[str], Awaitable[list[Told]]]) -> Trace:
    """Makes the call and puts its trace together. gather: gives what the workers tell of a trace.

    An error of the call is part of its trace, and raised only if it left no span. Raises InvalidArgument for what is no
    call to a worker.
    """
    if not isinstance(call, Call) or isinstance(call, LocalCall):
        raise InvalidArgument(
            f"only a call of a running service can be traced, not {call!r:.80}",
            where="trace(…)",
            remedy='write the call in it, without `await`: deployment.trace(deployment.Backend.generate("x"))',
        )
    trace, answer, failure = new_trace(), None, None
    try:
        answer = await call.using(headers={**(call.options.headers or {}), TRACED: trace})
    except DynamoError as error:
        failure = error
    told: list[Told] = [*SPANS.read(trace), *await gather(trace)]
    if not told:
        assert failure is not None
        raise failure
    now = time.time() - time.perf_counter()
    return Trace(trace, now + min(span["begun"] for span in told), assembled(told), failure, answer)


def assembled(told: Iterable[Told]) -> tuple[Span, ...]:
    """The trees of these spans, in order of time."""
    by_id = {span["id"]: span for span in told}
    zero = min(span["begun"] for span in by_id.values())
    below: dict[str, list[Told]] = {}
    for span in sorted(by_id.values(), key=lambda one: (one["begun"], one["id"])):
        below.setdefault(span["parent"] if span["parent"] in by_id else "", []).append(span)

    def since(at: float | None) -> float | None:
        return None if at is None else at - zero

    def made(span: Told) -> Span:
        _, service, endpoint = f"/{span['path']}".rsplit("/", 2)
        return Span(
            name=f"{service}.{endpoint}",
            service=span.get("service", ""),
            worker=span.get("worker", ""),
            begin=span["begun"] - zero,
            first=since(span["first"]),
            end=since(span["end"]),
            tries=tuple(Try(t["worker"], t["at"] - zero, since(t["end"]), t["error"]) for t in span["tries"]),
            children=tuple(made(child) for child in below.get(span["id"], ())),
            **{name: span[name] for name in _AS_TOLD},
        )

    return tuple(made(span) for span in below[""])


_AS_TOLD = ("id", "kind", "items", "bytes_in", "bytes_out", "error", "what", "stopped", "notes")
