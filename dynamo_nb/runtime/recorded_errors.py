"""The last distinct errors of the endpoints of this process.

A request without an error costs nothing here. The memory is bounded: the number of errors, the number from one line of
code, and the length of each text.
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
"""Maximum number of distinct errors. The error whose last occurrence is oldest is dropped first."""
MOST_OF_A_LINE: Final = 4
"""Maximum number of distinct messages of one exception class on one line. Other messages count as one error."""
LONGEST_MESSAGE: Final = 1000
LONGEST_TRACEBACK: Final = 8000
"""Maximum lengths of messages and tracebacks, in characters."""
_LONGEST_PATTERN: Final = 200
"""Length of the part of a message that distinguishes errors, in characters."""
REPORT_PAUSE: Final = 1.0
"""Minimum of the seconds between two calls of `on_errors`."""
LOG_AGAIN: Final = 60.0
"""Seconds after which a repeated error is logged again, with the number of its occurrences."""
MOST_LINES: Final = 20
"""Maximum number of logged lines within `LOG_AGAIN`."""

_ENTRIES: Final = {str(Path(__file__).with_name(name)) for name in ("http.py", "open_request.py")}
"""Files whose frames are directly before the frames of an endpoint in a traceback."""
_VARYING: Final = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]+)*\b|\d+")
_PACKAGE: Final = str(Path(__file__).parents[1]) + os.sep
_SERVICES: Final = _PACKAGE + "llm" + os.sep
"""Services of this package. Their frames are treated as frames of users' services."""

logger = logging.getLogger(__name__)


@dataclass
class RecordedError:
    """One distinct error.

    Attributes:
        id: identifies the error in all processes.
        path: `namespace/component/endpoint`; `//GET /page` for a route that is not an endpoint.
        kind: class of the exception.
        message: message of the last occurrence.
        line: line of the service's code that raised it, or "".
        raised_by: the endpoint of another service that raised it, or "".
        traceback: traceback of the first occurrence, or "".
        first: time of the first occurrence, in seconds since the epoch.
        last: time of the last occurrence, in seconds since the epoch.
        new: number of occurrences since the last `RecordedErrors.take`.
        logged_at: time of the last log line, by `time.monotonic`.
        not_logged: number of occurrences since the last log line.
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
        on_errors: called soon after new errors, at most once in `REPORT_PAUSE` seconds; or None.
    """

    def __init__(self) -> None:
        self.on_errors: Callable[[], None] | None = None
        self._errors: dict[str, RecordedError] = {}  # in the order of their last occurrences
        self._timer: asyncio.TimerHandle | None = None
        self._reported_at = 0.0
        self._window, self._lines = 0.0, 0
        self._lock = threading.Lock()  # the thread that reads the lifeline takes errors too

    def record(self, path: str, error: DynamoError, raised: BaseException | None = None, *, handler: str = "") -> bool:
        """Records an error, unless the request was invalid.

        Args:
            path: `namespace/component/endpoint` of the request.
            error: the error for the caller, from `from_wire`: attributes of a user's class may raise.
            raised: the exception in this process; None without one, as at a deadline.
            handler: name of the handler, as in `where` of its errors.

        Returns:
            True if the error is not logged now, because it was logged before.
        """
        frames = _service_frames(raised)
        if isinstance(error, InvalidArgument) and not (error.kind and frames):
            return False  # an error of the client; with `kind` and frames, the service itself made a wrong call
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
        """Returns the errors since the last call, with their numbers in `new`. Any thread may call it."""
        with self._lock:
            taken = [replace(error) for error in self._errors.values() if error.new]
            for error in self._errors.values():
                error.new = 0
        return taken

    def _find(self, path: str, kind: str, message: str, line: str, raised_by: str) -> RecordedError:
        """The recorded error with these properties: an existing one, a new one, or the common one of its line."""
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
        """Logs an error, if it is new or was not logged for `LOG_AGAIN` seconds. Returns True if it was logged now."""
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
    """Returns a line for the log: `Backend.say failed: ValueError: no suffix, at cell 3 "Backend", line 4`.

    Args:
        error: the error.
    """
    endpoint = ".".join(filter(None, error.path.split("/", 2)[1:]))
    what = " ".join(f"{error.kind}: {error.message}".split())
    by = f", raised by {error.raised_by}" if error.raised_by else ""
    at = f", at {error.line}" if error.line else ""
    return f"{endpoint} failed: {what}{by}{at}"


def _id(*parts: str) -> str:
    return blake2s("\n".join(parts).encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()


def _service_frames(raised: BaseException | None) -> list[TracebackType]:
    """The traceback from the first frame of a service's code on; empty without such a frame."""
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
    """The innermost line of the service's code; else the innermost line outside of this package."""
    lines = [(at.tb_frame.f_code.co_filename, at.tb_lineno) for at in reversed(frames)]
    own = next((one for one in lines if is_written_code(one[0])), None)
    found = own or next((one for one in lines if _is_service(one[0])), None)
    return line_name(*found) if found is not None else ""


ERRORS: Final = RecordedErrors()
"""The errors of this process."""
