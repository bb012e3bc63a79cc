"""The browser pages that show a graph, and the heartbeats that they receive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from dynamo_nb.notebook.graph_widget import GraphWidget

BEAT: Final = 0.5
"""Seconds between two heartbeats. A page is disconnected after 2.3 s without one, see `connection.js`."""
PRESENCE: Final = 150.0
"""Seconds after its last report until a page counts as closed. A page reports every 30 s, a hidden page every minute.
Heartbeats end then: a server shuts down idle kernels, and a kernel that sends messages is not idle."""


class Viewers:
    """The pages that show one graph. Any thread may use it.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # The page of the running cell cannot report before the cell has ended.
        self._reported_at = {"": clock()}
        self._visible: set[str] = set()
        self._renewed = clock()

    def report(self, page: str, *, visible: bool) -> None:
        """Called when a page reports that it is open.

        Args:
            page: The id of the page.
            visible: True if the graph is visible in it now.
        """
        (self._visible.add if visible else self._visible.discard)(page)
        self._reported_at[page] = self._clock()

    def renew(self) -> None:
        """Called while a cell runs: pages cannot report before its end, so they do not count as closed."""
        self._renewed = self._clock()

    def forget(self) -> None:
        """Removes all pages."""
        self._reported_at.clear()
        self._visible.clear()

    @property
    def present(self) -> bool:
        """True if the graph is in an open page."""
        oldest = self._clock() - PRESENCE
        if self._renewed < oldest:
            for page in [page for page, at in list(self._reported_at.items()) if at < oldest]:
                self._reported_at.pop(page, None)
                self._visible.discard(page)
        return bool(self._reported_at)

    @property
    def watching(self) -> bool:
        """True if the graph is visible in an open page."""
        return self.present and bool(self._visible)


class Heartbeat:
    """Sends heartbeats to the pages that show graphs. It runs on the portal's loop, also while a cell runs.

    Args:
        shown: Returns the widgets that are in open pages.
    """

    def __init__(self, shown: Callable[[], list[GraphWidget]]) -> None:
        self._shown = shown
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the heartbeats. They end when no page is open."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while widgets := self._shown():
            for widget in widgets:
                with suppress(Exception):  # the comm is closed, or the kernel ends
                    widget.beat()
            await asyncio.sleep(BEAT)
