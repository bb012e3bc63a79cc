"""Health checks: a worker's event loop answers, and its liveness hooks report no fault.

The supervisor checks each ready worker over its lifeline. A thread of the worker reads the check, but the event loop
has to answer it. A worker that is silent for too long, or reports a fault several times in a row, is replaced.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dynamo_nb.control.worker_messages import Alive, Liveness

CHECKS: Final = 6
"""Checks within the time that a worker may be silent."""
MIN_PAUSE, MAX_PAUSE = 0.1, 5.0
"""Seconds between two checks."""
FAULTS: Final = 3
"""Faults in a row after which a worker is replaced: one may come from a passing load."""


@dataclass(frozen=True)
class Unhealthy:
    """A reason to replace a worker.

    Attributes:
        reason: the end of a sentence that begins with the worker.
        hangs: True if its event loop does not run, so that it cannot stop in order.
    """

    reason: str
    hangs: bool


class HealthCheck:
    """Checks one worker.

    Args:
        hang: seconds that it may be silent; 0 for no limit.
        send: sends one check.

    Attributes:
        healthy_at: when it was last healthy, in the time of `time.monotonic`.
    """

    def __init__(self, hang: float, send: Callable[[], None]) -> None:
        self._hang, self._send = hang, send
        self._pause = min(MAX_PAUSE, max(hang / CHECKS, MIN_PAUSE)) if hang else MAX_PAUSE
        self._max_silent = max(round(hang / self._pause), 1)  # checks in a row
        self._answered = False
        self._fault, self._faults = "", 0
        self.healthy_at = time.monotonic()

    def note(self, report: Alive | Liveness) -> None:
        """Notes an answer of the event loop, or the result of the liveness hooks."""
        if isinstance(report, Liveness):
            self._fault, self._faults = report.fault, self._faults + 1 if report.fault else 0
            return
        self._answered = True
        if not self._faults:
            self.healthy_at = time.monotonic()

    async def wait_unhealthy(self) -> Unhealthy:
        """Checks again and again; returns when the worker is unhealthy.

        Silence is counted in checks and not by the clock: the supervisor may itself have been stopped for a while, and
        has then received nothing.
        """
        silent = 0
        self._send()
        while True:
            await asyncio.sleep(self._pause)
            if self._faults >= FAULTS:
                return Unhealthy(f"was unhealthy {self._faults} times in a row: {self._fault}", hangs=False)
            if self._answered:
                silent, self._answered = 0, False
                self._send()
                continue
            silent += 1
            if self._hang and silent >= self._max_silent:
                return Unhealthy(f"did not answer for {self._hang:g} s: its event loop is blocked", hangs=True)
