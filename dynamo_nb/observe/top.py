"""The current load of a deployment as a table: a row for each service and each of its workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from dynamo_nb.control.client import ControlClient
from dynamo_nb.control.status import ServiceStatus
from dynamo_nb.errors import ConnectError
from dynamo_nb.observe.traffic import Load, Traffic, TrafficWindow
from dynamo_nb.observe.units import digits, duration, memory

PAUSE: Final = 1.0
FIRST_PAUSE: Final = 0.5
"""Seconds between two tables, and before the first one: a rate needs two readings."""

HEAD: Final = (
    *("", "state", "calls/s", "p50", "p99", "in flight", "errors/s", "failed"),
    *("CPU", "memory", "GPU", "restarts", "uptime"),
)
_LONG: Final = 30
"""Maximum number of rows of an unfolded table."""
_GPU: Final = HEAD.index("GPU")
_RESTARTS: Final = HEAD.index("restarts")
_TRAFFIC: Final = slice(HEAD.index("calls/s"), HEAD.index("failed") + 1)
_RIGHT: Final = range(2, len(HEAD))
"""Columns of numbers."""
_CELL: Final = "padding:1px 14px 1px 0;text-align:{};font-variant-numeric:tabular-nums;white-space:pre"


@dataclass(frozen=True)
class Top:
    """A table with the columns of HEAD: each service, followed by its workers.

    Attributes:
        rows: the cells of each row, as text.
    """

    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, services: Mapping[str, ServiceStatus], traffic: Traffic, now: float | None = None) -> Top:
        """Returns the table.

        Args:
            services: status of each service.
            traffic: their load.
            now: seconds since the epoch; None for the current time.
        """
        return cls(tuple(_rows(services, traffic, time.time() if now is None else now)))

    def __str__(self) -> str:
        lines = [HEAD, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
        padded = (
            [
                cell.rjust(w) if i in _RIGHT else cell.ljust(w)
                for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            ]
            for line in lines
        )
        return "\n".join("  ".join(line).rstrip() for line in padded)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self.html}

    @property
    def html(self) -> str:
        """The table as HTML. A long table lists idle services in one line, and shows workers only of other services."""

        def line(cells: tuple[str, ...], tag: str) -> str:
            formatted = (
                f'<{tag} style="{_CELL.format("right" if i in _RIGHT else "left")}">{escape(cell)}</{tag}>'
                for i, cell in enumerate(cells)
            )
            return f"<tr>{''.join(formatted)}</tr>"

        rows, idle = _folded(self.rows) if len(self.rows) > _LONG else (self.rows, [])
        body = "".join(line(row, "td") for row in rows)
        if idle:
            text = escape(f"{len(idle)} ready and idle: {', '.join(idle)}")
            body += f'<tr><td colspan="{len(HEAD)}" style="text-align:left;padding-top:4px">{text}</td></tr>'
        return f'<table aria-label="Load of each service and worker">{line(HEAD, "th")}{body}</table>'


def _folded(rows: Sequence[tuple[str, ...]]) -> tuple[list[tuple[str, ...]], list[str]]:
    """Returns the rows of services that are busy or not ready, and the names of the other services."""
    groups: list[list[tuple[str, ...]]] = []
    for row in rows:
        if row[0].startswith(" "):
            groups[-1].append(row)
        else:
            groups.append([row])
    shown: list[tuple[str, ...]] = []
    idle: list[str] = []
    for service, *workers in groups:
        states = [service[1].split()[0], *(worker[1] for worker in workers)]
        if set(states) == {"ready"} and not any([*service[_TRAFFIC], service[_RESTARTS]]):
            idle.append(service[0])
        elif len(workers) == 1:
            shown.append((*service[:_GPU], *workers[0][_GPU:]))
        else:
            shown += [service, *workers]
    return shown, idle


def _rows(services: Mapping[str, ServiceStatus], traffic: Traffic, now: float) -> Iterator[tuple[str, ...]]:
    for name, service in services.items():
        if not service.started:
            continue
        yield (
            name,
            f"{service.state} {service.readiness}",
            *_numbers(traffic.services.get(name, Load())),
            _percent([traffic.cpu[worker.id] for worker in service.workers if worker.id in traffic.cpu]),
            _memory(sum(traffic.memory.get(worker.id, 0) for worker in service.workers)),
            ",".join(service.gpus),
            str(service.restarts or ""),
            "",
        )
        for worker in service.workers:
            gpu = ",".join(worker.gpus)
            used = traffic.gpu_memory.get(worker.id)
            yield (
                f"  {name}[{worker.index}]",
                worker.state,
                *_numbers(traffic.workers.get((name, worker.id), Load())),
                _percent([traffic.cpu[worker.id]] if worker.id in traffic.cpu else []),
                _memory(traffic.memory.get(worker.id, 0)),
                f"{gpu} ({memory(used)})" if gpu and used else gpu,
                str(worker.restarts or ""),
                _age(now - worker.started),
            )


def _numbers(load: Load) -> Iterator[str]:
    yield _rate(load.rate)
    yield _duration(load.p50)
    yield _duration(load.p99)
    yield str(load.in_flight or "")
    yield _rate(load.errors)
    yield str(load.failed or "")


def _rate(per_second: float) -> str:
    return digits(per_second) if per_second else ""


def _duration(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _percent(cpu: list[float]) -> str:
    return f"{sum(cpu):.0f} %" if cpu else ""


def _memory(size: float) -> str:
    return memory(size) if size else ""


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


async def follow(control: Path, pause: float = PAUSE) -> AsyncGenerator[Top, None]:
    """Yields tables of a deployment until it stops.

    Args:
        control: path of its control socket.
        pause: seconds between two tables.

    Raises:
        ConnectError: no supervisor listens at `control`.
    """
    client = await ControlClient.connect(control)
    window = TrafficWindow()
    try:
        window.add(await client.request("metrics"))
        await asyncio.sleep(FIRST_PAUSE)
        with suppress(ConnectError):  # it has stopped
            while True:
                traffic = window.add(await client.request("metrics"))
                yield Top.of((await client.status()).services, traffic)
                await asyncio.sleep(pause)
    finally:
        await client.close()
