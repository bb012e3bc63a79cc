"""Reads the logs of a deployment: filtered, with an access log, once or continuously."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Final

from dynamo_nb.control.client import ControlClient
from dynamo_nb.control.log_lines import Level, LogFilter, LogLine
from dynamo_nb.control.logs import LogTail
from dynamo_nb.control.record import Record
from dynamo_nb.errors import ConnectError
from dynamo_nb.observe.units import duration, memory

ACCESS_PAUSE: Final = 0.3
"""Seconds between two readings of the access log. Each sends a request to every worker."""
MOST_AT_ONCE: Final = 1000
"""Maximum number of lines from one reading. Of a longer burst, the last lines are returned."""
_COLOURS: Final = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)
"""Terminal colour codes for workers. Workers take them in turn."""
_LEVEL_COLOURS: Final = {"error": 31, "warning": 33}


@dataclass(frozen=True)
class LogRequest:
    """A request for logs.

    Attributes:
        filter: The lines to show.
        lines: Number of last lines of each worker.
        access: True to show also the requests over HTTP.
        follow: True to continue with new lines until the deployment ends.
    """

    filter: LogFilter = field(default_factory=LogFilter)
    lines: int = 100
    access: bool = False
    follow: bool = False

    @property
    def nothing(self) -> str:
        """The message in place of an empty log."""
        what = f"no lines: {self.filter}" if self.filter != LogFilter() else "no lines: nothing was printed"
        return f"{what}; new ones appear here" if self.follow else what


async def read_logs(
    record: Record, request: LogRequest, access: AccessLog | None = None
) -> AsyncGenerator[list[LogLine]]:
    """Yields the existing lines (perhaps none), and with `follow` each new group of lines until the deployment ends.

    Args:
        record: The deployment.
        request: The lines to show.
        access: The access log of a caller that turns it on and off; None to use `request.access`.
    """
    service = request.filter.service or None
    access = access or access_log(record, request)
    with closing(LogTail(record.folder / "logs", service, request.lines)) as tail:
        first = True
        async with aclosing(access):
            while True:
                alive = request.follow and record.alive
                lines = [line for line in tail.read_lines() if request.filter.shows(line)]
                lines += [line for line in await access.read() if request.filter.shows(line)]
                if not first or access.shown:
                    lines.sort(key=lambda line: line.at or 0.0)
                if request.follow and not first and len(lines) > MOST_AT_ONCE:
                    left_out = len(lines) - MOST_AT_ONCE
                    lines = [LogLine("", f"[{left_out:,} lines are left out here]"), *lines[left_out:]]
                if first or lines:
                    yield lines
                first = False
                if not alive:
                    return
                await asyncio.sleep(LogTail.PAUSE)


def access_log(record: Record, request: LogRequest) -> AccessLog:
    """Returns the access log for a request for logs.

    Args:
        record: The deployment.
        request: The request.
    """
    return AccessLog(record.control, request.filter.service, request.lines, shown=request.access)


class AccessLog:
    """The latest requests over HTTP of the workers of a deployment.

    Args:
        control: The control socket of the deployment.
        service: Only requests to this service; "" for all services.
        lines: Number of requests of each worker to show from the time before the log was turned on.
        shown: True to turn the log on.
    """

    def __init__(self, control: Path, service: str = "", lines: int = 0, *, shown: bool = True) -> None:
        self._control, self._service, self._lines = control, service, lines
        self._shown, self._since = shown, time.time()
        self._client: ControlClient | None = None
        self._known: dict[str, int] = {}
        self._next = 0.0

    @property
    def shown(self) -> bool:
        """True if the log is on."""
        return self._shown

    @shown.setter
    def shown(self, shown: bool) -> None:
        if not self._shown:
            self._since = time.time()
        self._shown = shown

    async def read(self) -> list[LogLine]:
        """Returns the requests since the last call; none while the log is off, or after the end of the deployment."""
        if not self.shown or time.monotonic() < self._next:
            return []
        self._next = time.monotonic() + ACCESS_PAUSE
        try:
            if self._client is None:
                self._client = await ControlClient.connect(self._control)
            found = await self._client.request("requests", after=self._known)
        except ConnectError:  # the deployment has stopped
            return []
        lines = []
        for worker, requests in found.items():
            shown = requests
            if worker not in self._known:
                before = sum(one["at"] < self._since for one in requests)
                shown = requests[max(before - self._lines, 0) :]
            self._known[worker] = requests[-1]["number"]
            if self._service in {"", worker.rsplit(".", 2)[0]}:
                lines += [_access_line(worker, one) for one in shown]
        return lines

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()


def _access_line(worker: str, request: Mapping[str, Any]) -> LogLine:
    service, index, _ = worker.rsplit(".", 2)
    status = request["status"]
    level: Level = "error" if status >= 500 else "warning" if status >= 400 or not status else "info"
    outcome = f" {request['stopped']}" if request["stopped"] else ""
    size = memory(request["bytes"]) if request["bytes"] >= 1024 else f"{request['bytes']} B"
    took = duration(request["seconds"])
    text = f"{request['method']} {request['path']} {status or '-'}{outcome} {took} {size} {request['client']}"
    return LogLine(f"{service}[{index}]", text.rstrip(), request["at"], level)


class LogText:
    """Formats lines of logs as text.

    Args:
        times: True to show the time of each line.
        coloured: True for a terminal with colours.
    """

    def __init__(self, *, times: bool = False, coloured: bool = False) -> None:
        self._times, self._coloured = times, coloured
        self._colours: dict[str, int] = {}

    def text(self, lines: Sequence[LogLine]) -> str:
        """Returns lines as text: time (with `times`), worker, text.

        Args:
            lines: The lines.
        """
        return "\n".join(map(self._line, lines))

    def _line(self, line: LogLine) -> str:
        time_ = f"{line.time or '-':<12} " if self._times else ""
        if not self._coloured:
            return f"{time_}{line}" if line.worker else f"{time_}{line.text}"
        colour = self._colours.setdefault(line.worker, _COLOURS[len(self._colours) % len(_COLOURS)])
        worker = f"\x1b[{colour}m{line.worker}:\x1b[0m " if line.worker else ""
        level = _LEVEL_COLOURS.get(line.level)
        text = f"\x1b[{level}m{line.text}\x1b[0m" if level else line.text
        return (f"\x1b[2m{time_}\x1b[0m" if time_ else "") + worker + text


def html_of(lines: Sequence[LogLine]) -> str:
    """Returns lines as HTML, with times and a colour for each worker, for pages without widgets.

    Args:
        lines: The lines.
    """
    hues: dict[str, int] = {}

    def row(line: LogLine) -> str:
        hue = hues.setdefault(line.worker, worker_hue(len(hues)))
        colour = f"color:light-dark(hsl({hue},70%,32%),hsl({hue},65%,70%))"
        level = {"error": "color:light-dark(#cf222e,#f85149)", "warning": "color:light-dark(#9a6700,#d29922)"}
        worker = f'<b style="{colour}">{escape(line.worker)}</b> ' if line.worker else ""
        text = f'<span style="{level.get(line.level, "")}">{escape(line.text)}</span>'
        return f'<span style="opacity:0.6">{line.time or "            "}</span> {worker}{text}'

    style = "max-height:24em;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere;font-size:12px"
    return f'<pre style="{style}">{chr(10).join(map(row, lines))}</pre>'


def worker_hue(number: int) -> int:
    """Returns the hue of a worker's colour in degrees. Consecutive workers have distant hues.

    Args:
        number: Number of the worker, from 0.
    """
    return (205 + number * 137) % 360


def rows_of(lines: Sequence[LogLine]) -> Iterator[list[str]]:
    """Yields the time, worker, level and text of each line, for a browser.

    Args:
        lines: The lines.
    """
    for line in lines:
        yield [line.time, line.worker, line.level, line.text]
