"""A Trace: one request across services, built from the spans that each process recorded."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dynamo_nb.drawing.mimebundle import image
from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.observe.span import TraceSpan, Try
from dynamo_nb.observe.waterfall import Waterfall
from dynamo_nb.observe.waterfall_svg import svg
from dynamo_nb.observe.waterfall_text import text
from dynamo_nb.runtime.spans import SPANS, TRACED, new_trace, parts_of
from dynamo_nb.sdk.call import Call, LocalCall

SpanData = Mapping[str, Any]
"""A span as its process sends it."""


@dataclass(frozen=True)
class Trace:
    """One request across services, shown as a waterfall.

    Attributes:
        id: id of the trace.
        started: start, in seconds since the epoch.
        roots: the traced call, then the spans whose parent was lost with its worker.
        error: the error that ended the request, or None.
        answer: the answer, or the list of a stream's items.
    """

    id: str
    started: float
    roots: tuple[TraceSpan, ...]
    error: DynamoError | None
    answer: Any

    @property
    def value(self) -> Any:
        """The answer, or the list of a stream's items, as an `await` of the call returns it.

        Raises:
            DynamoError: the error that ended the request.
        """
        if self.error is not None:
            raise self.error
        return self.answer

    @property
    def root(self) -> TraceSpan:
        """The traced call."""
        return self.roots[0]

    @property
    def duration(self) -> float:
        """Seconds that the call took for its caller."""
        return self.root.duration or 0.0

    @property
    def spans(self) -> tuple[TraceSpan, ...]:
        """Every span, depth first, in order of time."""
        return tuple(span for root in self.roots for span in root.walk())

    @property
    def waterfall(self) -> Waterfall:
        """The trace, ready to be drawn."""
        return Waterfall.of(self.roots, failed=self.error is not None)

    def __str__(self) -> str:
        return text(self.waterfall)

    __repr__ = __str__

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        waterfall = self.waterfall
        return {"text/plain": str(self), **image(svg(waterfall), waterfall.title)}


async def trace_call(call: Call[Any], gather: Callable[[str], Awaitable[list[SpanData]]]) -> Trace:
    """Makes a call and returns its trace. An error of the call is part of the trace if the call left a span.

    Args:
        call: a call of a running service, not awaited yet.
        gather: returns the spans that the workers recorded of a trace.

    Raises:
        InvalidArgument: this is not a call of a running service.
        DynamoError: the call failed and left no span.
    """
    if not isinstance(call, Call) or isinstance(call, LocalCall):
        raise InvalidArgument(
            f"only a call of a running service can be traced, not {call!r:.80}",
            where="trace(…)",
            remedy='pass the call itself, without `await`: deployment.trace(deployment.Backend.generate("x"))',
        )
    trace, answer, failure = new_trace(), None, None
    try:
        answer = await call.using(headers={**(call.options.headers or {}), TRACED: trace})
    except DynamoError as error:
        failure = error
    spans: list[SpanData] = [*SPANS.read(trace), *await gather(trace)]
    if not spans:
        assert failure is not None
        raise failure
    epoch = time.time() - time.perf_counter()
    return Trace(trace, epoch + min(span["begun"] for span in spans), span_trees(spans), failure, answer)


def span_trees(spans: Iterable[SpanData]) -> tuple[TraceSpan, ...]:
    """Returns the trees of these spans, in order of time."""
    by_id = {span["id"]: span for span in spans}
    zero = min(span["begun"] for span in by_id.values())
    below: dict[str, list[SpanData]] = {}
    for span in sorted(by_id.values(), key=lambda one: (one["begun"], one["id"])):
        below.setdefault(span["parent"] if span["parent"] in by_id else "", []).append(span)

    def since(at: float | None) -> float | None:
        return None if at is None else at - zero

    def tree(span: SpanData) -> TraceSpan:
        component, endpoint = parts_of(span["path"])
        service = component.rpartition("/")[2]
        return TraceSpan(
            name=f"{service} {endpoint}" if " " in endpoint else f"{service}.{endpoint}",
            service=span.get("service", ""),
            worker=span.get("worker", ""),
            begin=span["begun"] - zero,
            first=since(span["first"]),
            end=since(span["end"]),
            tries=tuple(Try(t["worker"], t["at"] - zero, since(t["end"]), t["error"]) for t in span["tries"]),
            children=tuple(tree(child) for child in below.get(span["id"], ())),
            **{name: span[name] for name in _UNCHANGED},
        )

    return tuple(tree(span) for span in below[""])


_UNCHANGED = ("id", "kind", "items", "bytes_in", "bytes_out", "error", "what", "stopped", "notes")
