"""A load that a user starts: await its result, or let it run in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from html import escape
from typing import Any, Final, Self

from dynamo_nb.observe.bench_result import BenchResult
from dynamo_nb.observe.display import TICK, Display, Nowhere
from dynamo_nb.observe.load_generator import LoadGenerator
from dynamo_nb.sdk.portal import UNDO_BOUND, Pending, on_portal, portal

INTERRUPTED: Final = "interrupted"
_BAR: Final = 24


class BenchRun(Pending[BenchResult]):
    """A load that has not started: `await` it, call `.result()`, or `.start()` it and go on.

    An interrupt of an awaited load ends the load. After `.start()`, an interrupt only ends the wait, and `.stop()` ends
    the load.
    """

    def __init__(self, load: LoadGenerator, display: Callable[[], Display] = Nowhere, *, line: bool = True) -> None:
        super().__init__(lambda: on_portal(self._run))
        self._load, self._display, self._line = load, display, line
        self._started: Future[BenchResult] | None = None

    def on(self, display: Callable[[], Display], *, line: bool = True) -> BenchRun:
        """Returns the load with another display.

        Args:
            display: opens the display when the load starts.
            line: leave one line of the result there after an `await`, rather than nothing.
        """
        return BenchRun(self._load, display, line=line)

    def start(self) -> Self:
        """Starts the load in the background and returns it."""
        if self._started is None:
            self._started = asyncio.run_coroutine_threadsafe(self._follow(background=True), portal.loop)
        return self

    def stop(self) -> BenchResult:
        """Ends a started load and returns what it has measured."""
        self._load.stop("stopped")
        return self.result(UNDO_BOUND)

    @property
    def measured(self) -> BenchResult:
        """The measurements of the load until now."""
        return self._load.measured()

    async def _run(self) -> BenchResult:
        if self._started is not None:
            return await asyncio.shield(asyncio.wrap_future(self._started))
        return await self._follow(background=False)

    async def _follow(self, *, background: bool) -> BenchResult:
        display = self._display()
        self._load.begin()
        ended = asyncio.wrap_future(self._load.ended)
        try:
            while not ended.done():
                display.show(progress(self._load.measured()))
                await asyncio.wait([ended], timeout=TICK)
        except asyncio.CancelledError:
            self._load.stop(INTERRUPTED)
            display.close((await ended)._repr_mimebundle_())
            raise
        if ended.exception() is not None or not (background or self._line):
            display.close({"text/plain": ""})
        elif background:
            display.close(ended.result()._repr_mimebundle_())
        else:  # the caller has the result and can show it
            display.close(_line(ended.result()))
        return ended.result()

    def __repr__(self) -> str:
        load = f"bench of {self._load.target}, {self._load.shape}"
        if self._load.ended.done():
            return f"<{load}: ended; `.result()` returns the figures>"
        if self._started is None:
            return f"<{load}: not started; `await` it or call `.result()`; `.start()` runs it in the background>"
        return f"<{load}: running; `.result()` waits for it, `.measured` has the figures so far, `.stop()` ends it>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self)}


def progress(result: BenchResult) -> dict[str, str]:
    """Returns a running load as a bar and a line."""
    done, share = round(result.progress * _BAR), f"{result.progress:.0%}"
    line = f"{result.line} · {result.target}, {result.load}"
    value = f'value="{result.progress:.3f}" max="1"'
    bar = f'<progress {value} aria-label="Progress" style="vertical-align:middle"></progress>'
    return {
        "text/plain": f"[{'#' * done}{'.' * (_BAR - done)}] {share:>4} {line}",
        "text/html": f"<div>{bar} {share} {escape(line)}</div>",
    }


def _line(result: BenchResult) -> dict[str, str]:
    line = f"{result.heading}: {result.line}"
    return {"text/plain": line, "text/html": f"<div>{escape(line)}</div>"}
