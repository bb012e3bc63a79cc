"""The progress of a change of a deployment: services whose workers are starting, and their last line of output."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

from dynamo_nb.control.logs import LogTail
from dynamo_nb.control.status import RolloutStatus, Status
from dynamo_nb.observe.display import TICK, Display
from dynamo_nb.observe.units import duration

PATIENCE: Final = 1.5
"""Seconds before a change is shown: most changes end earlier."""
_LONGEST: Final = 100
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_PENDING: Final = ("waiting", "starting", "prepared")
_ORDER: Final = ("failed", "starting", "prepared", "draining", "ready")


@dataclass(frozen=True)
class Progress:
    """One service in a change.

    Attributes:
        service: its name.
        state: the earliest state of its new workers; `updating` while old ones serve in their place.
        ready: number of ready workers.
        desired: number of desired workers.
        seconds: since its workers were started.
        line: the last line of output of a worker that is not ready.
    """

    service: str
    state: str
    ready: int
    desired: int
    seconds: float = 0.0
    line: str = ""

    @property
    def step(self) -> str:
        """The line without numbers that change all the time."""
        return f"{self.service}: {self.state} {self.ready}/{self.desired}"


def progress(status: Status, lines: Mapping[str, str], now: float) -> list[Progress]:
    """Returns the services in the current change.

    Args:
        status: status of the deployment.
        lines: the last line that each worker printed, by `Backend.0`.
        now: seconds since the epoch.
    """
    found = [_starting(name, rollout, lines, now, status) for name, rollout in status.rollout.items()]
    if not found:  # all new workers are ready; the old ones finish their requests
        for name, service in status.services.items():
            if leaving := sum(worker.state == "draining" for worker in service.workers):
                line = f"{leaving} old worker{'s' * (leaving != 1)} finishing requests"
                found.append(Progress(name, "draining", service.ready, service.desired, 0.0, line))
    return found


def _starting(name: str, rollout: RolloutStatus, lines: Mapping[str, str], now: float, status: Status) -> Progress:
    workers = rollout.workers
    states = {worker.state if worker.pid else "waiting" for worker in workers} or {"waiting"}
    state = next((s for s in _ORDER if s in states), "waiting")
    unfinished = [worker for worker in workers if worker.state not in {"ready", "prepared"}] or workers
    printed = [line for worker in unfinished if (line := _shown(lines.get(f"{name}.{worker.index}", "")))]
    began = min((worker.started for worker in workers if worker.pid), default=now)
    seconds = max(now - began, 0.0)
    line = printed[-1] if printed else status.waiting
    if state in _PENDING and (counts := status.updating(name)):
        state, line = "updating", f"{counts}; {line}" if line else counts
    return Progress(name, state, rollout.ready, rollout.desired, seconds, line)


def _shown(line: str) -> str:
    plain = _ESCAPES.sub("", line).strip()
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"


def bundle(found: Sequence[Progress]) -> dict[str, str]:
    """Returns one line for each service, as text and as an HTML table."""
    width = max((len(p.service) for p in found), default=0)
    plain = "\n".join(
        f"{p.service:<{width}}  {p.state:<8}  {f'{p.ready}/{p.desired}':>5}  {p.seconds:>5.0f} s  {p.line}".rstrip()
        for p in found
    )
    cells = [(p.service, p.state, f"{p.ready}/{p.desired}", f"{p.seconds:.0f} s", p.line) for p in found]
    rows = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in cells)
    return {"text/plain": plain, "text/html": f'<table aria-label="Progress">{rows}</table>'}


def ready(services: Mapping[str, int], seconds: float) -> dict[str, str]:
    """Returns what is left on display after a change: services and their numbers of workers."""
    workers = ", ".join(f"{name} {count}" for name, count in services.items())
    line = f"ready in {duration(seconds)}: {workers}"
    return {"text/plain": line, "text/html": f"<small>{escape(line)}</small>"}


class ProgressReport:
    """Shows the progress of a change that takes long.

    Example:
        >>> async with ProgressReport(status, logs, display):
        ...     await change()
    """

    def __init__(self, status: Callable[[], Status], logs: Path, display: Callable[[], Display]) -> None:
        self._status, self._logs, self._display = status, logs, display
        self._shown: Display | None = None
        self._began = 0.0
        self._seen: dict[str, int] = {}
        self._last: list[Progress] = []

    async def __aenter__(self) -> None:
        self._tail = LogTail(self._logs, lines=0)
        list(self._tail.read())  # skip earlier output
        self._began = time.monotonic()
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        await asyncio.sleep(PATIENCE)
        self._shown = self._display()
        while True:
            list(self._tail.read())
            self._last = progress(self._status(), self._tail.latest, time.time()) or self._last
            self._seen |= {p.service: p.desired for p in self._last}
            if self._last:
                self._shown.show(bundle(self._last), [p.step for p in self._last])
            await asyncio.sleep(TICK)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._watching.cancel()
        await asyncio.wait([self._watching])
        self._tail.close()
        if self._shown is not None:
            # After an error the last state stays: it shows which service is the cause.
            seconds = time.monotonic() - self._began
            self._shown.close(ready(self._seen, seconds) if kind is None and self._seen else bundle(self._last))
