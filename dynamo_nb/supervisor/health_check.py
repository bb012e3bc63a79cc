"""Whether a worker is well: its event loop answers, and its liveness hooks are content.

The supervisor asks each worker that serves, over its lifeline. There a thread reads the question, but the event loop
has to answer it. A worker that is silent for too long, or complains several times in a row, is replaced.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

HANG_LIMIT: Final = 30.0
"""Seconds of silence that are too long. A person's cell in the worker's kernel keeps its loop from answering too."""
PINGS: Final = 6
"""Questions in that time."""
LEAST_PAUSE, PAUSE = 0.1, 5.0
"""Seconds between two questions, at least and at most."""
COMPLAINTS: Final = 3
"""In a row, from which a worker is replaced: one may come of a passing load."""
STACK_SIGNAL: Final = signal.SIGUSR1
"""At which a worker writes its stacks to its log, whatever it is doing: no Python code is needed for it."""
STACK_TIME: Final = 0.5
"""Seconds that a worker has for that."""


@dataclass(frozen=True)
class Illness:
    """Why a worker is to be replaced. hangs: its event loop does not run, so that it cannot stop in order."""

    what: str
    hangs: bool


class Pulse:
    """Asks one worker. hang: seconds of silence that are too long, 0 for none. ask: sends the question.

    well: when it was last known to be, in the time of `time.monotonic`.
    """

    def __init__(self, hang: float, ask: Callable[[], None]) -> None:
        self._hang, self._ask = hang, ask
        self._pause = min(PAUSE, max(hang / PINGS, LEAST_PAUSE)) if hang else PAUSE
        self._silences = max(round(hang / self._pause), 1)  # in a row that are too many
        self._answered = False
        self._complaint, self._complaints = "", 0
        self.well = time.monotonic()

    def answered(self) -> None:
        """The event loop has answered."""
        self._answered = True
        if not self._complaints:
            self.well = time.monotonic()

    def complained(self, complaint: str) -> None:
        """The liveness hooks have answered; with "" when they are content."""
        self._complaint, self._complaints = complaint, self._complaints + 1 if complaint else 0

    async def fails(self) -> Illness:
        """Asks again and again; returns when the worker is ill.

        Silence is counted in pauses, not by the clock: where this process was stopped for a while, it did not listen.
        """
        silent = 0
        self._ask()
        while True:
            await asyncio.sleep(self._pause)
            if self._complaints >= COMPLAINTS:
                what = f"was not well {self._complaints} times in a row: {self._complaint}"
                return Illness(what, hangs=False)
            if self._answered:
                silent, self._answered = 0, False
                self._ask()
                continue
            silent += 1
            if self._hang and silent >= self._silences:
                return Illness(f"did not answer for {self._hang:g} s: its event loop is blocked", hangs=True)
