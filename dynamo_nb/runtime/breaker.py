"""Which instances are left alone for a while, since connecting to them has failed again and again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from dynamo_nb.runtime.discovery import Instance

FAILURES: Final = 3  # in a row, from which an instance is left alone
FIRST_PAUSE: Final = 0.5  # seconds; twice as long after each further failure
LONGEST_PAUSE: Final = 30.0
FORGOTTEN: Final = 4 * LONGEST_PAUSE  # seconds after which a failure counts no more


class Breaker:
    """Counts failures in a row. After a pause one attempt shows whether the instance can be reached again."""

    def __init__(self) -> None:
        self.failures: dict[int, tuple[int, float, float]] = {}  # instance id: how many, the last one, paused until

    def begins(self, instance: Instance) -> None:
        """An attempt is made; until its end is known, nobody else should try."""
        if entry := self.failures.get(instance.instance_id):
            count, last, until = entry
            pause = FIRST_PAUSE if count >= FAILURES else 0
            self.failures[instance.instance_id] = count, last, max(until, time.monotonic() + pause)

    def failed(self, instance: Instance) -> None:
        now = time.monotonic()
        self.failures = {key: entry for key, entry in self.failures.items() if entry[1] > now - FORGOTTEN}
        count = self.failures.get(instance.instance_id, (0, 0, 0))[0] + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (count - FAILURES)) if count >= FAILURES else 0
        self.failures[instance.instance_id] = count, now, now + pause

    def succeeded(self, instance: Instance) -> None:
        self.failures.pop(instance.instance_id, None)

    def admitted(self, instances: Sequence[Instance]) -> Sequence[Instance]:
        """Those that may be tried; all of them when none is left: a refusal costs less than giving up."""
        now = time.monotonic()
        paused = {key for key, (_, _, until) in self.failures.items() if until > now}
        return [instance for instance in instances if instance.instance_id not in paused] or instances
