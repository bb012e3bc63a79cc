"""Lines of logs, with time, worker and level, and the filter of a user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, get_args

from dynamo_nb.errors import InvalidArgument

Level = Literal["debug", "info", "warning", "error"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)

_STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z ")
_ESCAPES: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and movements of the cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles and links
    r"|\x1b[@-Z\\^_=>78]"
    r"|[\x00-\x08\x0b-\x1f\x7f]"
)
_LEVEL: Final = re.compile(
    r"(?:\([^)]{0,60}\))?[\W\d_TZ]{0,40}(DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL)\b|(?:.*: )?\w*(Warning): "
)
_NAMED: Final[dict[str, Level]] = {
    "DEBUG": "debug",
    "INFO": "info",
    "WARN": "warning",
    "WARNING": "warning",
    "Warning": "warning",
    "ERROR": "error",
    "CRITICAL": "error",
    "FATAL": "error",
}
_TRACEBACK: Final = re.compile(
    r"\s*(?:\+ )?(?:Exception Group )?Traceback \(most recent call last\):|Exception in thread "
)
_CHAINED: Final = ("During handling of the above", "The above exception was")


@dataclass(frozen=True)
class LogLine:
    """One line of the log of a worker.

    Attributes:
        worker: The worker, such as `Backend[0]`, or `supervisor`.
        text: The text, without escape codes.
        at: Time in seconds since the epoch; None if it is not known, as for earlier lines of a child process.
        level: The level in the line, or "error" in a traceback; "" for a line without a level.
    """

    worker: str
    text: str
    at: float | None = None
    level: Level | Literal[""] = ""

    @property
    def time(self) -> str:
        """Local time of the day, such as `14:03:07.250`; "" if it is not known."""
        return "" if self.at is None else f"{datetime.fromtimestamp(self.at):%H:%M:%S.%f}"[:-3]  # noqa: DTZ006

    def __str__(self) -> str:
        return f"{self.worker}: {self.text}"


@dataclass(frozen=True)
class LogFilter:
    """A filter of log lines.

    Attributes:
        service: Shows only lines of the workers of this service; "" for all services and the supervisor.
        index: Shows only lines of this worker of the service; None for all workers.
        level: Shows only lines of this level and above; "" for all. A line without a level counts as `info`.
        pattern: Shows only lines that match this regular expression; "" for all.

    Raises:
        InvalidArgument: The level is unknown, or the pattern is not a regular expression.
    """

    service: str = ""
    index: int | None = None
    level: str = ""
    pattern: str = ""
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.level and self.level not in LEVELS:
            raise InvalidArgument(f"{self.level!r} is not a level", remedy=f"use one of {', '.join(LEVELS)}")
        try:
            object.__setattr__(self, "_compiled", re.compile(self.pattern))
        except re.error as error:
            raise InvalidArgument(
                f"--grep {self.pattern!r} is not a regular expression: {error}",
                remedy="escape special characters with \\",
            ) from None

    @classmethod
    def of(cls, worker: str | None, level: str = "", pattern: str = "") -> LogFilter:
        """Returns a filter.

        Args:
            worker: `Backend`, `Backend[0]`, or None for all workers.
            level: See the attribute.
            pattern: See the attribute.

        Raises:
            InvalidArgument: See the class; also if `worker` is not a worker.
        """
        service, _, index = (worker or "").rstrip("]").partition("[")
        if index and not index.isdigit() and index != "*":
            raise InvalidArgument(f"{worker!r} is not a worker", remedy=f"write {service}[0]")
        return cls(service, int(index) if index.isdigit() else None, level, pattern)

    @property
    def name(self) -> str:
        """The service or the worker; "" for all."""
        return self.service if self.index is None else f"{self.service}[{self.index}]"

    def __str__(self) -> str:
        parts = [self.name or "all workers"]
        parts += [f"level {self.level} and above"] * bool(self.level) + [f"lines with {self.pattern}"] * bool(
            self.pattern
        )
        return ", ".join(parts)

    def shows(self, line: LogLine) -> bool:
        """Returns True if a line passes the filter. Only lines of `service` may be passed.

        Args:
            line: The line.
        """
        if self.index is not None and line.worker != self.name:
            return False
        if self.level and LEVELS.index(line.level or "info") < LEVELS.index(self.level):
            return False
        return self._compiled.search(f"{line.worker}: {line.text}") is not None


def stamp(at: float) -> str:
    """Returns the prefix of a line in a log file: the time in UTC.

    Args:
        at: Seconds since the epoch.
    """
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z "


def without_stamp(line: str) -> str:
    """Returns a line of a log file without its time and without escape codes.

    Args:
        line: The line.
    """
    found = _STAMP.match(line)
    return without_escapes(line[found.end() :] if found is not None else line)


def without_escapes(text: str) -> str:
    """Returns a text without escape codes and other characters that move the cursor.

    Args:
        text: The text.
    """
    return _ESCAPES.sub("", text)


class LineReader:
    """Reads the lines of one log file. Time and level of a line may come from an earlier line.

    Args:
        worker: The worker that the lines belong to.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._at: float | None = None
        self._level: Level | Literal[""] = ""
        self._in_traceback = False

    def read(self, lines: list[str], now: float | None) -> Iterator[LogLine]:
        """Yields lines.

        Args:
            lines: Lines of the file.
            now: Time for lines of child processes, which have no time; None if the lines may be older.
        """
        for line in lines:
            found = _STAMP.match(line)
            if found is not None:
                self._at = datetime.fromisoformat(found[1] + "+00:00").timestamp()
            elif now is not None:
                self._at = now
            text = without_escapes(line[found.end() :] if found is not None else line)
            yield LogLine(self._worker, text, self._at, self._level_of(text))

    def _level_of(self, text: str) -> Level | Literal[""]:
        if _TRACEBACK.match(text):
            self._in_traceback, self._level = True, "error"
        elif self._in_traceback:
            # The traceback ends with the first line without indentation, the error. Another traceback may follow.
            self._in_traceback = not text or text[0] in " +|" or text.startswith(_CHAINED)
        elif (named := _LEVEL.match(text)) is not None:
            self._level = _NAMED[named[1] or named[2]]
        elif text and not text.startswith((" ", "\t")) and not text.startswith(_CHAINED):
            self._level = ""
        return self._level
