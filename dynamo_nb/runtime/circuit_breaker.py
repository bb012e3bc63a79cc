"""A circuit breaker: instances that cannot be reached again and again are skipped for a while."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from dynamo_nb.runtime.instance import Instance

FAILURES: Final = 3  # consecutive failures after which an instance is skipped
FIRST_PAUSE: Final = 0.5  # seconds; doubled after each further failure
LONGEST_PAUSE: Final = 30.0  # seconds
FORGET_AFTER: Final = 4 * LONGEST_PAUSE  # seconds after which a failure no longer counts


class CircuitBreaker:
    """Counts the consecutive failed connections to each instance.

    After `FAILURES` of them the instance is skipped for a pause. One attempt after the pause shows whether it can be
    reached again.

    Attributes:
        failures: By instance id: number of failures, time of the last one, end of the time in which it is skipped.
            Times are of `time.monotonic`.
    """

    def __init__(self) -> None:
        self.failures: dict[int, tuple[int, float, float]] = {}

    def started(self, instance: Instance) -> None:
        """Notes that an attempt has started. Other attempts should wait for its result."""
        if entry := self.failures.get(instance.instance_id):
            count, last, until = entry
            pause = FIRST_PAUSE if count >= FAILURES else 0
            self.failures[instance.instance_id] = count, last, max(until, time.monotonic() + pause)

    def failed(self, instance: Instance) -> None:
        """Notes that an attempt has failed."""
        now = time.monotonic()
        self.failures = {key: entry for key, entry in self.failures.items() if entry[1] > now - FORGET_AFTER}
        count = self.failures.get(instance.instance_id, (0, 0, 0))[0] + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (count - FAILURES)) if count >= FAILURES else 0
        self.failures[instance.instance_id] = count, now, now + pause

    def succeeded(self, instance: Instance) -> None:
        """Notes that an attempt has succeeded."""
        self.failures.pop(instance.instance_id, None)

    def admitted(self, instances: Sequence[Instance]) -> Sequence[Instance]:
        """Returns the instances that may be tried, or all of them if none may: a refusal costs less than an error."""
        now = time.monotonic()
        skipped = {key for key, (_, _, until) in self.failures.items() if until > now}
        return [instance for instance in instances if instance.instance_id not in skipped] or instances
