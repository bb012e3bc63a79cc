"""When each running sequence of an EchoEngine generates its next tokens."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count

from dynamo_nb.llm.engines.echo.sequence import EchoSequence


class DecodingSchedule:
    """The due times of sequences in a heap, with one timer for the earliest.

    Args:
        advance: Called with each sequence that is due and the current time, by the event loop's clock.
    """

    def __init__(self, advance: Callable[[EchoSequence, float], None]) -> None:
        self._advance = advance
        self._due: list[tuple[float, int, EchoSequence]] = []
        self._order = count()  # between sequences that are due at the same time
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def __len__(self) -> int:
        return len(self._due)

    def add(self, sequence: EchoSequence, at: float) -> None:
        """Calls `advance` for the sequence at this time."""
        heappush(self._due, (at, next(self._order), sequence))
        self._set_timer()

    def remove(self, sequence: EchoSequence) -> None:
        """Forgets a sequence; no error if it is not scheduled."""
        self._due = [entry for entry in self._due if entry[2] is not sequence]
        heapify(self._due)

    def stop(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, math.inf

    def _set_timer(self) -> None:
        if self._due and self._due[0][0] < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = self._due[0][0]
            self._timer = asyncio.get_running_loop().call_at(self._timer_at, self._fire)

    def _fire(self) -> None:
        # The loop may fire a timer slightly early: everything due at the timer's own time is due now.
        now = max(asyncio.get_running_loop().time(), self._timer_at)
        self._timer, self._timer_at = None, math.inf
        while self._due and self._due[0][0] <= now:
            _, _, sequence = heappop(self._due)
            self._advance(sequence, now)
        self._set_timer()
