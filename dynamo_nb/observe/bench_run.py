"""A load in the hands of a person: awaited it gives its result, begun it goes on beside everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from html import escape
from typing import Any, Final, Self

from dynamo_nb.observe.bench import BenchResult
from dynamo_nb.observe.display import TICK, Display, Nowhere
from dynamo_nb.observe.load_generator import Load
from dynamo_nb.sdk.portal import UNDO_BOUND, Pending, on_portal, portal

INTERRUPTED: Final = "interrupted"
_BAR: Final = 24


class BenchRun(Pending[BenchResult]):
    """A load that was asked for: `await` it, call `.result()`, or `.start()` it and go on.

    display: gives the place where it is shown, when it begins. line: whether one line of the result stays there when
    it is awaited, rather than nothing. Awaited, an interrupt ends it; once it was started, an
    interrupt ends the waiting, and `.stop()` the load.
    """

    def __init__(self, load: Load, display: Callable[[], Display] = Nowhere, *, line: bool = True) -> None:
        super().__init__(lambda: on_portal(self._run))
        self._load, self._display, self._line = load, display, line
        self._started: Future[BenchResult] | None = None

    def on(self, display: Callable[[], Display], *, line: bool = True) -> BenchRun:
        """The same load, shown elsewhere."""
        return BenchRun(self._load, display, line=line)

    def start(self) -> Self:
        """Begins at once, in the background; gives itself."""
        if self._started is None:
            self._started = asyncio.run_coroutine_threadsafe(self._follow(background=True), portal.loop)
        return self

    def stop(self) -> BenchResult:
        """Ends a load that was started, and gives what it has measured."""
        self._load.stop("stopped")
        return self.result(UNDO_BOUND)

    @property
    def measured(self) -> BenchResult:
        """What it has measured until now."""
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
        else:  # whoever awaits it has the result, and shows it
            display.close(_line(ended.result()))
        return ended.result()

    def __repr__(self) -> str:
        what = f"bench of {self._load.target}, {self._load.shape}"
        if self._load.ended.done():
            return f"<{what}: ended; `.result()` gives what it measured>"
        if self._started is None:
            return f"<{what}: not begun: `await` it, or take its `.result()`; `.start()` runs it in the background>"
        return f"<{what}: running; `.result()` waits for it, `.measured` has what there is, `.stop()` ends it>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self)}


def progress(result: BenchResult) -> dict[str, str]:
    """A load under way, as a bar and a line."""
    done, share = round(result.progress * _BAR), f"{result.progress:.0%}"
    said = f"{result.line} · {result.target}, {result.load}"
    bar = f'<progress value="{result.progress:.3f}" max="1" style="vertical-align:middle"></progress>'
    return {
        "text/plain": f"[{'#' * done}{'.' * (_BAR - done)}] {share:>4} {said}",
        "text/html": f"<div>{bar} {share} {escape(said)}</div>",
    }


def _line(result: BenchResult) -> dict[str, str]:
    said = f"{result.heading}: {result.line}"
    return {"text/plain": said, "text/html": f"<div>{escape(said)}</div>"}
