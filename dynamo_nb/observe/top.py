"""What a deployment does now, as a table: a line for each service and each of its workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from dynamo_nb.control.client import ControlClient
from dynamo_nb.control.status import ServiceStatus
from dynamo_nb.errors import ConnectError
from dynamo_nb.observe.traffic import Load, Traffic, TrafficWindow

PAUSE: Final = 1.0
FIRST: Final = 0.5
"""Seconds between two tables, and before the first one: a rate needs two readings."""

HEAD: Final = (
    *("", "state", "calls/s", "median", "p99", "in flight", "errors/s", "failed"),
    *("memory", "GPU", "up"),
)
_RIGHT: Final = range(2, len(HEAD))
"""Columns of numbers."""
_CELL: Final = "padding:1px 14px 1px 0;text-align:{};font-variant-numeric:tabular-nums;white-space:pre"


@dataclass(frozen=True)
class Top:
    """Rows in the order of HEAD; a service's row is followed by those of its workers where it has several."""

    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, services: Mapping[str, ServiceStatus], traffic: Traffic, now: float | None = None) -> Top:
        """services: what a supervisor's status says of each. now: seconds since the epoch."""
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
        def line(cells: tuple[str, ...], tag: str) -> str:
            own = (
                f'<{tag} style="{_CELL.format("right" if i in _RIGHT else "left")}">{escape(cell)}</{tag}>'
                for i, cell in enumerate(cells)
            )
            return f"<tr>{''.join(own)}</tr>"

        return f"<table>{line(HEAD, 'th')}{''.join(line(row, 'td') for row in self.rows)}</table>"


def _rows(services: Mapping[str, ServiceStatus], traffic: Traffic, now: float) -> Iterator[tuple[str, ...]]:
    for name, service in services.items():
        if not service.started:
            continue
        yield (
            name,
            f"{service.state} {service.readiness}",
            *_numbers(traffic.services.get(name, Load())),
            size(sum(traffic.memory.get(worker.id, 0) for worker in service.workers)),
            ",".join(service.gpus),
            "",
        )
        for worker in service.workers:
            gpu = ",".join(worker.gpus)
            used = traffic.gpu_memory.get(worker.id)
            yield (
                f"  {name}[{worker.index}]",
                worker.state,
                *_numbers(traffic.workers.get((name, worker.id), Load())),
                size(traffic.memory.get(worker.id, 0)),
                f"{gpu} ({size(used)})" if gpu and used else gpu,
                _age(now - worker.started),
            )


def _numbers(load: Load) -> Iterator[str]:
    yield rate(load.rate)
    yield duration(load.p50)
    yield duration(load.p99)
    yield str(load.in_flight or "")
    yield rate(load.errors)
    yield str(load.failed or "")


def rate(number: float) -> str:
    """Of things a second: `1,234`, `12.3`, nothing for none."""
    return "" if not number else f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def duration(seconds: float | None) -> str:
    """`850 µs`, `12.3 ms`, `4.56 s`; nothing for None."""
    if seconds is None:
        return ""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def size(number: float) -> str:
    """Of memory: `96 MB`, `70.4 GB`, nothing for none."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return "" if not number else f"{number / 1e3:.3g} kB"


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


async def follow(control: Path, pause: float = PAUSE) -> AsyncGenerator[Top, None]:
    """Tables of the deployment whose control socket this is, as long as it runs. pause: seconds between two.

    Raises ConnectError when no supervisor listens there.
    """
    client = await ControlClient.connect(control)
    window = TrafficWindow()
    try:
        window.add(await client.request("metrics"))
        await asyncio.sleep(FIRST)
        with suppress(ConnectError):  # it has stopped
            while True:
                traffic = window.add(await client.request("metrics"))
                yield Top.of((await client.status()).services, traffic)
                await asyncio.sleep(pause)
    finally:
        await client.close()
