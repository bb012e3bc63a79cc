"""The browser pages that show a graph, and the signs of life that they receive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from dynamo_nb.notebook.graph_widget import GraphWidget

BEAT: Final = 0.5
"""Seconds between two signs of life. Pages take a silence of 2.3 s for the end of the kernel; see `connection.js`."""
PRESENCE: Final = 150.0
"""Seconds after its last report in which a page is taken to be open. It reports every 30 s, a hidden one once a minute.
Kernels that send messages are not idle, so a server would never shut down the idle kernel of a closed page."""


class Viewers:
    """The pages that show one graph. Any thread may use it.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # The page that runs the cell reports when the cell has ended.
        self._heard = {"": clock()}
        self._visible: set[str] = set()
        self._renewed = clock()

    def report(self, page: str, *, visible: bool) -> None:
        """Called when a page reports that it is open.

        Args:
            page: The id of the page.
            visible: True if the graph is visible in it now.
        """
        (self._visible.add if visible else self._visible.discard)(page)
        self._heard[page] = self._clock()

    def renew(self) -> None:
        """Called while a cell runs: reports wait until it has ended, so no page is taken to be closed."""
        self._renewed = self._clock()

    def forget(self) -> None:
        """Removes all pages."""
        self._heard.clear()
        self._visible.clear()

    @property
    def present(self) -> bool:
        """True if the graph is in an open page."""
        oldest = self._clock() - PRESENCE
        if self._renewed < oldest:
            for page in [page for page, heard in list(self._heard.items()) if heard < oldest]:
                self._heard.pop(page, None)
                self._visible.discard(page)
        return bool(self._heard)

    @property
    def watching(self) -> bool:
        """True if the graph is visible in an open page."""
        return self.present and bool(self._visible)


class Heartbeat:
    """Sends signs of life to the pages that show graphs. It runs on the portal's loop, also while a cell runs.

    Args:
        shown: Returns the widgets that are in open pages.
    """

    def __init__(self, shown: Callable[[], list[GraphWidget]]) -> None:
        self._shown = shown
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to send, until no page is open."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while widgets := self._shown():
            for widget in widgets:
                with suppress(Exception):  # the comm is closed, or the kernel ends
                    widget.beat()
            await asyncio.sleep(BEAT)
