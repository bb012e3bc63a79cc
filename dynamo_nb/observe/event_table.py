"""The events of a deployment and the errors of its services as tables."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from dynamo_nb.control.client import ControlClient
from dynamo_nb.control.events import MOST_EVENTS, Event, ServiceError

_CELL: Final = "padding:1px 14px 1px 0;text-align:left;vertical-align:top;font-variant-numeric:tabular-nums"
_BAD: Final = "#d9534f"
_DAY: Final = 86_400.0


class Events(tuple[Event, ...]):
    """The events of a deployment, oldest first. Displayed as a table."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(event_line(event) for event in self) or "no events yet"

    __repr__ = __str__

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self.html}

    @property
    def html(self) -> str:
        """The table as HTML."""
        rows = [
            _row((clock(event.at), event.worker or event.service, event.text), title=event.detail, bad=event.bad)
            for event in self
        ]
        return _table(("time", "service", "event"), rows)


class ServiceErrors(tuple[ServiceError, ...]):
    """The last distinct errors of services, latest first. Displayed with their tracebacks."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n\n".join(error_text(error) for error in self) or "no errors"

    __repr__ = __str__

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self.html}

    @property
    def html(self) -> str:
        """The table as HTML, with tracebacks that unfold."""
        rows = []
        for error in self:
            what = f"<b>{escape(error.kind)}</b> {escape(error.message)}<br>{escape(origin_of(error))}"
            if error.traceback:
                what += f"<details><summary>Traceback</summary><pre>{escape(error.traceback)}</pre></details>"
            cells = (f"{error.count:,}", clock(error.last), f"{error.service}.{error.endpoint}")
            rows.append(_row(cells, more=what))
        return _table(("count", "last", "endpoint", "error"), rows)


async def follow(control: Path, number: int) -> AsyncGenerator[Event, None]:
    """Yields the last events of a deployment, and then each new event until the deployment stops.

    Args:
        control: path of its control socket.
        number: number of earlier events to yield.

    Raises:
        ConnectError: no supervisor listens at `control`.
    """
    new: asyncio.Queue[Event | None] = asyncio.Queue()
    client = await ControlClient.connect(control, on_event=new.put_nowait)
    try:
        await client.watch()
        earlier = await client.events()
        for event in earlier[-number:] if number > 0 else []:
            yield event
        ended = asyncio.ensure_future(client.wait_closed())
        ended.add_done_callback(lambda _: new.put_nowait(None))
        last = earlier[-1].number if earlier else 0
        while (found := await new.get()) is not None:
            if found.number > last:
                yield found
    finally:
        await client.close()


async def follow_table(control: Path, number: int) -> AsyncGenerator[Events, None]:
    """Yields a table of the last events of a deployment now, and after each new event until the deployment stops.

    Args:
        control: path of its control socket.
        number: maximum number of events in a table.

    Raises:
        ConnectError: no supervisor listens at `control`.
    """
    client = await ControlClient.connect(control)
    try:
        shown = await client.events()
    finally:
        await client.close()
    yield Events(shown[-number:] if number > 0 else [])
    async for event in follow(control, MOST_EVENTS):
        if not shown or event.number > shown[-1].number:
            shown = [*shown, event][-MOST_EVENTS:]
            yield Events(shown[-number:] if number > 0 else [])


def event_line(event: Event) -> str:
    """Returns an event as one line for a terminal.

    Args:
        event: the event.
    """
    return f"{clock(event.at)}  {event.text}"


def error_text(error: ServiceError) -> str:
    """Returns an error as text: summary, times and traceback.

    Args:
        error: the error.
    """
    times = f"last {clock(error.last)}, first {clock(error.first)}" if error.count > 1 else f"at {clock(error.last)}"
    number = f"{error.count:,} times, " if error.count > 1 else ""
    lines = [f"{error.service}.{error.endpoint}: {error.summary}", f"  {number}{times}"]
    if origin := origin_of(error):
        lines.append(f"  {origin}")
    return "\n".join([*lines, *(f"  {line}" for line in error.traceback.rstrip().splitlines())])


def origin_of(error: ServiceError) -> str:
    """Returns the origin of an error as a phrase; "" if it is not known.

    Args:
        error: the error.
    """
    if error.raised_by:
        return f"raised by {error.raised_by}" + (f", called at {error.line}" if error.line else "")
    return f"at {error.line}" if error.line else ""


def clock(at: float, now: float | None = None) -> str:
    """Returns a time of the last 24 hours as `14:03:05`, an earlier time with its date.

    Args:
        at: seconds since the epoch.
        now: the current time; None for the clock's.
    """
    recent = (time.time() if now is None else now) - at < _DAY
    return time.strftime("%H:%M:%S" if recent else "%Y-%m-%d %H:%M:%S", time.localtime(at))


def _table(head: Sequence[str], rows: Iterable[str]) -> str:
    titles = "".join(f'<th style="{_CELL}">{title}</th>' for title in head)
    return f"<table><tr>{titles}</tr>{''.join(rows)}</table>"


def _row(cells: Sequence[str], *, more: str = "", title: str = "", bad: bool = False) -> str:
    """A row. more: a last cell in HTML."""
    style = f"{_CELL};color:{_BAD}" if bad else _CELL
    shown = [escape(cell) for cell in cells] + ([more] if more else [])
    tooltip = f' title="{escape(title)}"' if title else ""
    columns = "".join(f'<td style="{style}">{cell}</td>' for cell in shown)
    return f"<tr{tooltip}>{columns}</tr>"
