"""The last distinct errors that the endpoints of this process ended with.

Only requests that fail get here, so a request that succeeds costs nothing. What is kept is bounded: the number of
errors, of those from one line of code, and the length of each text.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import blake2s
from pathlib import Path
from types import TracebackType
from typing import Final

from dynamo_nb.errors import DynamoError, EndpointError, InvalidArgument, class_of, readable, traceback_of
from dynamo_nb.source.tracebacks import is_written_code, line_name

MOST_ERRORS: Final = 20
"""Distinct errors that are kept; the one that occurred last the longest ago is dropped first."""
MOST_OF_A_LINE: Final = 4
"""Distinct messages of one exception on one line. Further ones count together: a message may name a document."""
LONGEST_MESSAGE: Final = 1000
LONGEST_TRACEBACK: Final = 8000
"""Characters that are kept."""
_LONGEST_PATTERN: Final = 200
"""Characters of a message that distinguish it."""
REPORT_PAUSE: Final = 1.0
"""Least seconds between two calls of `on_errors`."""
LOG_AGAIN: Final = 60.0
"""Seconds after which an error that goes on is logged again, with its number since."""
MOST_LINES: Final = 20
"""Lines that are logged within `LOG_AGAIN`."""

_ENTRIES: Final = {str(Path(__file__).with_name(name)) for name in ("http.py", "open_request.py")}
"""Files of the last frames before those of an endpoint."""
_VARYING: Final = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]+)*\b|\d+")
_PACKAGE: Final = str(Path(__file__).parents[1]) + os.sep
_SERVICES: Final = _PACKAGE + "llm" + os.sep
"""Services of this package, which are like those of users."""

logger = logging.getLogger(__name__)


@dataclass
class RecordedError:
    """One distinct error.

    Attributes:
        id: equal in every process for the same error.
        path: `namespace/component/endpoint`; `//GET /page` for a route of the user's own application.
        kind: class of the exception.
        message: message of the last one.
        line: line of the service's code that raised it, or "".
        raised_by: the endpoint of another service that raised it, or "".
        traceback: traceback of the first one, or "".
        first: when the first one occurred, in seconds since the epoch.
        last: when the last one occurred.
        new: number of those that were not taken yet.
        logged_at: when it was logged, by the clock of the event loop.
        not_logged: number of those since then.
    """

    id: str
    path: str
    kind: str
    message: str
    line: str
    raised_by: str
    traceback: str = ""
    first: float = field(default_factory=time.time)
    last: float = 0.0
    new: int = 0
    logged_at: float = 0.0
    not_logged: int = 0


class RecordedErrors:
    """Records errors on the event loop that serves the requests.

    Attributes:
        on_errors: called with new errors, soon after they occurred and at most once in `REPORT_PAUSE` seconds; None if
            nothing is called.
    """

    def __init__(self) -> None:
        self.on_errors: Callable[[], None] | None = None
        self._errors: dict[str, RecordedError] = {}  # the one that occurred last is at the end
        self._timer: asyncio.TimerHandle | None = None
        self._reported_at = 0.0
        self._window, self._lines = 0.0, 0
        self._lock = threading.Lock()  # the thread that reads the lifeline takes errors too

    def record(self, path: str, error: DynamoError, raised: BaseException | None = None, *, handler: str = "") -> bool:
        """Records an error, unless the request itself was wrong.

        Args:
            path: `namespace/component/endpoint` that ended with it.
            error: the error as the caller receives it, made by `from_wire`: attributes of a user's class may raise.
            raised: the exception in this process; None if nothing was raised, as at a deadline.
            handler: name of the handler, as in `where` of its own errors.

        Returns:
            True if the error was logged before and is not logged now.
        """
        frames = _service_frames(raised)
        if isinstance(error, InvalidArgument) and not (error.kind and frames):
            return False  # a mistake of the client; with `kind` and frames, the service has made a wrong call
        remote_kind = error.kind if isinstance(error, EndpointError) else ""
        kind = remote_kind or class_of(raised or error)
        message = readable(error.what.removeprefix(f"{kind}: "), LONGEST_MESSAGE)
        received = issubclass(type(raised), EndpointError) and remote_kind and error.where != handler
        raised_by = error.where if received else ""
        line = _line(frames)
        with self._lock:
            found = self._find(path, kind, message, line, raised_by)
            if not found.traceback and not raised_by and raised is not None:
                shown = traceback_of(raised, frames[0] if frames else raised.__traceback__)
                found.traceback = readable(shown, LONGEST_TRACEBACK)
            found.message, found.last = message, time.time()
            found.new += 1
        self._report_soon()
        return not self._log(found)

    def take(self) -> list[RecordedError]:
        """Returns the errors that have occurred since the last call, with their `new` number. From any thread."""
        with self._lock:
            taken = [replace(error) for error in self._errors.values() if error.new]
            for error in self._errors.values():
                error.new = 0
        return taken

    def _find(self, path: str, kind: str, message: str, line: str, raised_by: str) -> RecordedError:
        """The error with these properties, as the latest one. It is new, or one that stands for others of its line."""
        origin = (path, kind, line, raised_by)
        pattern = _VARYING.sub("#", message[:_LONGEST_PATTERN])
        id_ = _id(*origin, pattern)
        if id_ not in self._errors:
            same = sum((e.path, e.kind, e.line, e.raised_by) == origin for e in self._errors.values())
            if same >= MOST_OF_A_LINE:
                id_ = _id(*origin)
        found = self._errors.pop(id_, None) or RecordedError(id_, path, kind, message, line, raised_by)
        if len(self._errors) >= MOST_ERRORS:
            del self._errors[next(iter(self._errors))]
        self._errors[id_] = found
        return found

    def _report_soon(self) -> None:
        if self.on_errors is not None and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._reported_at + REPORT_PAUSE, loop.time()), self._report)

    def _report(self) -> None:
        self._timer, self._reported_at = None, asyncio.get_running_loop().time()
        if self.on_errors is not None:
            self.on_errors()

    def _log(self, error: RecordedError) -> bool:
        """Logs an error, if it is new or was not logged for a while. Returns True if it did."""
        now = time.monotonic()
        if now - self._window >= LOG_AGAIN:
            self._window, self._lines = now, 0
        if self._lines >= MOST_LINES or (error.logged_at and now - error.logged_at < LOG_AGAIN):
            error.not_logged += 1
            return False
        self._lines += 1
        count = f" ({error.not_logged + 1:,} times)" if error.not_logged else ""
        error.logged_at, error.not_logged = now, 0
        logger.error("%s", line_of(error) + count)
        return True


def line_of(error: RecordedError) -> str:
    """One line for the log: `Backend.say failed: ValueError: no suffix, at cell 3 "Backend", line 4`."""
    endpoint = ".".join(filter(None, error.path.split("/", 2)[1:]))
    what = " ".join(f"{error.kind}: {error.message}".split())
    by = f", raised by {error.raised_by}" if error.raised_by else ""
    at = f", at {error.line}" if error.line else ""
    return f"{endpoint} failed: {what}{by}{at}"


def _id(*parts: str) -> str:
    return blake2s("\n".join(parts).encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()


def _service_frames(raised: BaseException | None) -> list[TracebackType]:
    """The traceback from the first frame of a service's code on; empty if no such code has run."""
    frames: list[TracebackType] = []
    at = raised.__traceback__ if raised is not None else None
    while at is not None:
        frames.append(at)
        at = at.tb_next
    names = [frame.tb_frame.f_code.co_filename for frame in frames]
    entered = max((i + 1 for i, name in enumerate(names) if name in _ENTRIES), default=0)
    if not entered:  # a route of the user's own application, below the frames of its framework
        entered = next((i for i, name in enumerate(names) if is_written_code(name)), 0)
    first = next((i for i, name in enumerate(names) if i >= entered and _is_service(name)), len(frames))
    return frames[first:]


def _is_service(filename: str) -> bool:
    return not filename.startswith(_PACKAGE) or filename.startswith(_SERVICES)


def _line(frames: list[TracebackType]) -> str:
    """The innermost line of the service's own code; else the innermost line of other code that is not this package."""
    lines = [(at.tb_frame.f_code.co_filename, at.tb_lineno) for at in reversed(frames)]
    own = next((one for one in lines if is_written_code(one[0])), None)
    found = own or next((one for one in lines if _is_service(one[0])), None)
    return line_name(*found) if found is not None else ""


ERRORS: Final = RecordedErrors()
"""The errors of this process."""
