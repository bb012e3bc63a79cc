"""Which instance gets a request."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from dynamo_nb.runtime.discovery import Instance


class Policy(Protocol):
    """Chooses among instances. A client calls `pick` once for each attempt of a request, on its event loop."""

    def pick(self, instances: Sequence[Instance]) -> Instance:
        """One of `instances`: never empty, in order of registration, without those that already failed the request."""
        ...


class RoundRobin:
    """Each in turn."""

    def __init__(self) -> None:
        self._next = 0

    def pick(self, instances: Sequence[Instance]) -> Instance:
        chosen = instances[self._next % len(instances)]
        self._next += 1
        return chosen


class Random:
    """Any, with equal chance."""

    def pick(self, instances: Sequence[Instance]) -> Instance:
        return random.choice(instances)  # noqa: S311
