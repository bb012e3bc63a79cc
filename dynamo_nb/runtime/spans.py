"""Spans of traced requests, recorded in this process without any configuration.

A request is traced if it carries the header TRACED, which names its trace and its parent span. Each call and each
served request then leaves a span in a ring buffer, from which it can be read by its trace. All times are of
`time.perf_counter`, which all processes of one machine share.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import deque
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final, Literal

from dynamo_nb.errors import DynamoError, summary_of
from dynamo_nb.runtime.meters import Meter, Reading

TRACED: Final = "dynamo-trace"
"""The header of a traced request: the trace's id, `-`, and the parent span's id, if there is one."""
RING: Final = 1024  # spans of one process, some hundred bytes each: enough for requests that a person looks at
MAX_NOTES: Final = 64  # of one span
MAX_TRIES: Final = 16  # attempts of one call that are recorded, from the first
LONGEST_NOTE: Final = 1000  # characters of a note or a message: a caller must not fill a worker's memory
LONGEST_ID: Final = 64  # characters of an id from a caller

Kind = Literal["client", "server"]


def new_trace() -> str:
    """Returns the id of a new trace, in the W3C's format."""
    return secrets.token_hex(16)


def parts_of(path: str) -> tuple[str, str]:
    """Returns the component and the endpoint of a span's path, or the component and the HTTP route.

    Args:
        path: The path.

    Example:
        >>> parts_of("default/Backend/generate")
        ('default/Backend', 'generate')
        >>> parts_of("default/Web/GET /v1/models")
        ('default/Web', 'GET /v1/models')
    """
    before, space, route = path.partition(" ")
    component, _, endpoint = before.rpartition("/")
    return component, endpoint + space + route


class Span:
    """One call, as its caller sees it, or one request, as its worker sees it.

    Attributes:
        path: `namespace/component/endpoint`; the endpoint may be an HTTP route, such as `GET /models`.
        kind: "client" or "server".
        trace: Id of the trace.
        parent: Id of the parent span, or empty.
        id: Id of this span.
        begun: Time of the start.
        first: Time of a stream's first item, or None.
        end: Time at which the answer was complete, or None.
        items: Number of items of a stream.
        bytes_in: Bytes received.
        bytes_out: Bytes sent.
        error: Code of the error that ended the request, or empty.
        what: Message of that error.
        stopped: Reason why the answer is no longer needed, or empty.
        notes: Notes of the handler, see `trace_note`.
        tries: Attempts of a call: `worker`, `at`, `end` and `error` of each.
    """

    __slots__ = (
        "begun",
        "bytes_in",
        "bytes_out",
        "end",
        "error",
        "first",
        "id",
        "items",
        "kind",
        "notes",
        "parent",
        "path",
        "stopped",
        "trace",
        "tries",
        "what",
    )

    def __init__(self, path: str, kind: Kind, header: str, begun: float) -> None:
        trace, _, parent = header.partition("-")
        self.path, self.kind, self.begun = path, kind, begun
        self.trace, self.parent, self.id = trace[:LONGEST_ID], parent[:LONGEST_ID], secrets.token_hex(8)
        self.first: float | None = None
        self.end: float | None = None
        self.items = self.bytes_in = self.bytes_out = 0
        self.error = self.what = self.stopped = ""
        self.notes: dict[str, Any] = {}
        self.tries: list[dict[str, Any]] = []

    @property
    def header(self) -> str:
        """The value of TRACED for calls made for this request."""
        return f"{self.trace}-{self.id}"

    def note(self, notes: Mapping[str, Any]) -> None:
        """Adds notes, or replaces those of the same name."""
        for name, value in notes.items():
            if name in self.notes or len(self.notes) < MAX_NOTES:
                self.notes[name] = _plain(value)

    def attempt(self, worker: str) -> None:
        """Records that the request is sent to a worker."""
        if len(self.tries) < MAX_TRIES:
            self.tries.append({"worker": worker, "at": perf_counter(), "end": None, "error": ""})

    def attempt_failed(self, worker: str, error: str) -> None:
        """Records that a worker did not answer, or could not be reached. error: the code of an error."""
        if not self.tries or self.tries[-1]["end"] is not None:
            self.attempt(worker)
        self.tries[-1].update(end=perf_counter(), error=error)

    def finish(self, error: BaseException | None, stopped: str = "") -> None:
        """Records the end of the request."""
        self.end = perf_counter()
        self.stopped = stopped
        if error is not None:
            self.error = error.code if isinstance(error, DynamoError) else DynamoError.code
            self.what = (error.what if isinstance(error, DynamoError) else summary_of(error)).strip()
            self.what = self.what[:LONGEST_NOTE]

    def read(self) -> dict[str, Any]:
        """Returns all attributes as plain data. Safe from any thread."""
        read = {name: getattr(self, name) for name in self.__slots__}
        return {**read, "notes": self.notes.copy(), "tries": [one.copy() for one in self.tries.copy()]}


def _plain(value: Any) -> Any:
    """Copies the value as data that can be sent: later changes of it do not change the note."""
    if isinstance(value, bool | int | float | None):
        return value
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = value = repr(value)
    if len(text) > LONGEST_NOTE:
        return text[: LONGEST_NOTE - 1] + "…"
    return value if isinstance(value, str) else json.loads(text)


class Ring:
    """A ring buffer of the last spans of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: deque[Span] = deque(maxlen=RING)

    def add(self, span: Span) -> None:
        """Adds a span, at its start."""
        with self._lock:
            self._spans.append(span)

    def read(self, trace: str | None = None) -> list[dict[str, Any]]:
        """Returns the spans of one trace, or all spans, oldest first. Safe from any thread."""
        with self._lock:
            spans = list(self._spans)
        return [span.read() for span in spans if trace in {None, span.trace}]


class SpanMeter(Meter):
    """The meter of an endpoint for one traced request: it writes its counts to the span too."""

    __slots__ = ("_meter", "_span")

    def __init__(self, meter: Meter, span: Span) -> None:
        self._meter, self._span = meter, span

    def begin(self) -> float:
        return self._meter.begin()

    def first_item(self, start: float) -> None:
        self._span.first = perf_counter()
        self._meter.first_item(start)

    def end(self, start: float, error: str = "") -> None:
        self._meter.end(start, error)

    def stop(self, reason: str) -> None:
        self._meter.stop(reason)

    def read(self) -> Reading:
        return self._meter.read()

    @property
    def items(self) -> int:
        return self._span.items

    @items.setter
    def items(self, count: int) -> None:
        self._meter.items += count - self._span.items
        self._span.items = count

    @property
    def bytes_in(self) -> int:
        return self._span.bytes_in

    @bytes_in.setter
    def bytes_in(self, count: int) -> None:
        self._meter.bytes_in += count - self._span.bytes_in
        self._span.bytes_in = count

    @property
    def bytes_out(self) -> int:
        return self._span.bytes_out

    @bytes_out.setter
    def bytes_out(self, count: int) -> None:
        self._meter.bytes_out += count - self._span.bytes_out
        self._span.bytes_out = count


SPANS: Final = Ring()
"""The spans of this process."""
