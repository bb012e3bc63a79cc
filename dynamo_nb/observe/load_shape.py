"""The shape of a load: its concurrency, rate and duration, checked before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.observe.units import digits

DURATION: Final = 10.0
"""Seconds of a load without a given end."""
MOST_WAITING: Final = 1000
"""Calls that may wait for their answers at a given rate: more than any service answers well at once."""
MOST_CONCURRENT: Final = 20_000
"""Callers of one load. Each is a task and an open call of one thread, which measures only itself beyond that."""


@dataclass(frozen=True)
class LoadShape:
    """The shape of a load.

    Attributes:
        concurrency: number of callers. With a rate, the number of calls that may wait for their answers.
        rate: calls per second.
        duration: seconds.
        requests: number of calls. With a duration too, the load ends at whichever comes first.
        warmup: seconds before the measurement, whose calls are not counted.
        timeout: seconds for each call.

    Raises:
        InvalidArgument: a value is out of range.
    """

    concurrency: int | None = None
    rate: float | None = None
    duration: float | None = None
    requests: int | None = None
    warmup: float = 0.0
    timeout: float | None = None

    def __post_init__(self) -> None:
        for name in ("concurrency", "rate", "duration", "requests", "timeout"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > 0):
                raise InvalidArgument(f"{name} must be a number above 0, not {value!r}", where="bench(…)")
        for name in ("concurrency", "requests"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, int):
                raise InvalidArgument(f"{name} must be a whole number, not {value!r}", where="bench(…)")
        if self.concurrency is not None and self.concurrency > MOST_CONCURRENT:
            remedy = f"use at most {MOST_CONCURRENT:,}, or several processes"
            raise InvalidArgument(f"concurrency={self.concurrency:,} is too much for one load", remedy=remedy)
        if not (_is_number(self.warmup) and self.warmup >= 0):
            raise InvalidArgument(f"warmup must be a number of seconds, not {self.warmup!r}", where="bench(…)")

    @property
    def most_calls(self) -> int:
        """The greatest number of concurrent calls."""
        return self.concurrency or (MOST_WAITING if self.rate is not None else 1)

    @property
    def seconds(self) -> float:
        """Measured seconds; infinite if only the number of calls is given."""
        if self.duration is not None:
            return self.duration
        return math.inf if self.requests is not None else DURATION

    def __str__(self) -> str:
        if self.rate is not None:
            return f"{digits(self.rate)} calls per second"
        return f"{self.most_calls} concurrent calls" if self.most_calls > 1 else "one call at a time"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
