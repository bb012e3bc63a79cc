"""What this process keeps of the requests that somebody traces, with nothing configured.

A request is traced when it carries the header TRACED, which names its trace and the span that it came from. Each call
and each request that is served then leaves a span in a ring, where it can be asked for by its trace. All times are of
`time.perf_counter`, which on one machine all processes share.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import deque
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final, Literal

from dynamo_nb.errors import DynamoError
from dynamo_nb.runtime.meters import Meter, Reading

TRACED: Final = "dynamo-trace"
"""The header: the id of the trace, `-`, and the id of the span that the request came from, if there is one."""
RING: Final = 1024  # spans of one process, a few hundred bytes each: many requests that a person looks at one by one
MAX_NOTES: Final = 64  # of one span
MAX_TRIES: Final = 16  # of one call that are kept, from the first
LONGEST_NOTE: Final = 1000  # characters of a note or a message: a caller must not fill the memory of a worker
LONGEST_ID: Final = 64  # characters that a caller may give as an id

Kind = Literal["client", "server"]


def new_trace() -> str:
    """The id of a new trace, also as the W3C would have it."""
    return secrets.token_hex(16)


class Span:
    """One call as its caller sees it, or one request as its worker does; in the ring from its beginning.

    first, end: when the first item of a stream passed, and the answer was complete. error: the code of what it ended
    with, what: its message. stopped: why nobody waits for the answer any more.
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
        """What the calls made for this request carry."""
        return f"{self.trace}-{self.id}"

    def note(self, notes: Mapping[str, Any]) -> None:
        for name, value in notes.items():
            if name in self.notes or len(self.notes) < MAX_NOTES:
                self.notes[name] = _plain(value)

    def tried(self, worker: str) -> None:
        """The request goes to this worker."""
        if len(self.tries) < MAX_TRIES:
            self.tries.append({"worker": worker, "at": perf_counter(), "end": None, "error": ""})

    def failed(self, worker: str, error: str) -> None:
        """It did not answer, or could not be reached; another one is looked for."""
        if not self.tries or self.tries[-1]["end"] is not None:
            self.tried(worker)
        self.tries[-1].update(end=perf_counter(), error=error)

    def over(self, error: BaseException | None, stopped: str = "") -> None:
        self.end = perf_counter()
        self.stopped = stopped
        if error is not None:
            self.error = error.code if isinstance(error, DynamoError) else DynamoError.code
            self.what = (error.what if isinstance(error, DynamoError) else f"{type(error).__name__}: {error}").strip()
            self.what = self.what[:LONGEST_NOTE]

    def read(self) -> dict[str, Any]:
        """All of it as plain data. From any thread."""
        read = {name: getattr(self, name) for name in self.__slots__}
        return {**read, "notes": self.notes.copy(), "tries": [one.copy() for one in self.tries.copy()]}


def _plain(value: Any) -> Any:
    """The value as data that can travel, at once: what it was when it was noted."""
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
    """The last spans of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: deque[Span] = deque(maxlen=RING)

    def add(self, span: Span) -> None:
        with self._lock:
            self._spans.append(span)

    def read(self, trace: str | None = None) -> list[dict[str, Any]]:
        """The spans of one trace, or all of them, from the oldest. From any thread."""
        with self._lock:
            spans = list(self._spans)
        return [span.read() for span in spans if trace in {None, span.trace}]


class SpanMeter(Meter):
    """The meter of an endpoint as one traced request has it: what it counts is written on the span too."""

    __slots__ = ("_meter", "_span")

    def __init__(self, meter: Meter, span: Span) -> None:
        self._meter, self._span = meter, span

    def begin(self) -> float:
        return self._meter.begin()

    def first_item(self, begun: float) -> None:
        self._span.first = perf_counter()
        self._meter.first_item(begun)

    def end(self, begun: float, error: str = "") -> None:
        self._meter.end(begun, error)

    def stop(self, why: str) -> None:
        self._meter.stop(why)

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
"""Of this process."""
