"""The supervisor's end of a worker's lifeline: sends commands, and matches the worker's answers to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Literal

from dynamo_nb.control.channel import Channel
from dynamo_nb.control.events import ServiceError
from dynamo_nb.control.worker_messages import (
    Command,
    Http,
    Measure,
    Measured,
    Raised,
    ReadHttp,
    ReadSpans,
    Reconfigure,
    Reconfigured,
    Report,
    Spans,
    as_message,
    report_from,
)
from dynamo_nb.runtime.meters import Reading

REPLY_LIMIT: Final = 0.5
"""Seconds to wait for counts or spans. A thread of the worker sends them: only a stopped process takes longer."""


class Lifeline:
    """The connection of one worker, which the worker opens.

    Args:
        on_report: called with each report that answers no request of this class.

    Attributes:
        measured: the last counts of requests that the worker reported.
        on_errors: called with each report of errors of the worker's endpoints.
        spans: spans of traced requests, which the worker reports at its end.
    """

    def __init__(self, on_report: Callable[[Report], None]) -> None:
        self._on_report = on_report
        self._channel: Channel | None = None
        self._early: list[Command] = []
        self._measured = asyncio.Event()
        self._traces: dict[str, asyncio.Future[list[dict[str, Any]]]] = {}
        self._http: dict[int, asyncio.Future[Any]] = {}
        self._http_count = 0
        self._reconfigurations: list[asyncio.Future[Reconfigured]] = []
        self.measured: Reading = {"served": {}, "called": {}}
        self.on_errors: Callable[[list[ServiceError]], None] = lambda _: None
        self.spans: list[dict[str, Any]] = []

    @property
    def reconfiguring(self) -> bool:
        """True while the worker has not answered a `reconfigure`."""
        return any(not answer.done() for answer in self._reconfigurations)

    async def follow(self, channel: Channel) -> None:
        """Reads the worker's reports until its connection closes."""
        self._channel = channel
        for command in self._early:
            channel.send(as_message(command))
        self._early.clear()
        async for message in channel:
            self._received(report_from(message))

    def send(self, command: Command) -> None:
        """Sends a command, now or when the worker connects."""
        if self._channel is None:
            self._early.append(command)
        else:
            self._channel.send(as_message(command))

    def reconfigure(self, config: str, version: str) -> asyncio.Future[Reconfigured]:
        """Sends other configuration; the future is done when the worker has answered."""
        answer: asyncio.Future[Reconfigured] = asyncio.get_running_loop().create_future()
        self.send(Reconfigure(len(self._reconfigurations), config, version))
        self._reconfigurations.append(answer)
        return answer

    async def measure(self) -> None:
        """Returns when `measured` has the current counts; at once if the worker is not connected."""
        if self._channel is not None:
            self._measured.clear()
            self.send(Measure())
            await self._measured.wait()

    async def spans_of(self, trace: str) -> list[dict[str, Any]]:
        """Returns the spans of a trace in this worker; none if it is not connected."""
        if self._channel is None:
            return []
        if trace not in self._traces:
            self._traces[trace] = asyncio.get_running_loop().create_future()
            self.send(ReadSpans(trace))
        try:
            return await asyncio.shield(self._traces[trace])
        finally:
            self._traces.pop(trace, None)

    async def http(self, what: Literal["routes", "requests"], after: int = 0) -> Any:
        """Returns a report on the worker's HTTP application; None if the worker is not connected.

        Args:
            what: `routes` or `requests`, see `ReadHttp`.
            after: with `requests`, the number of the last known request.
        """
        if self._channel is None:
            return None
        self._http_count += 1
        number = self._http_count
        answer = self._http[number] = asyncio.get_running_loop().create_future()
        self.send(ReadHttp(number, what, after))
        try:
            return await answer
        finally:
            self._http.pop(number, None)

    def _received(self, report: Report) -> None:
        match report:
            case Raised(errors=errors):
                self.on_errors(errors)
            case Measured(reading=reading):
                self.measured = reading
                self._measured.set()
            case Spans(trace=None, spans=spans):
                self.spans = spans
            case Spans(trace=str(trace), spans=spans):
                if (answer := self._traces.pop(trace, None)) is not None:
                    answer.set_result(spans)
            case Http(number=number, found=found):
                if (waiting := self._http.get(number)) is not None and not waiting.done():
                    waiting.set_result(found)
            case Reconfigured(number=number):
                if not (reply := self._reconfigurations[number]).done():
                    reply.set_result(report)
            case _:
                self._on_report(report)
