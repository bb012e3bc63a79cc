"""Which instance gets a request."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, Protocol

from dynamo_nb.runtime.discovery import Instance
from dynamo_nb.sdk.call import PolicyName

_MASK: Final = (1 << 64) - 1


class Request(Protocol):
    """What a policy may know about the request that it places. key: what keeps a session together, if it has one."""

    @property
    def path(self) -> str: ...
    @property
    def args(self) -> Sequence[Any]: ...
    @property
    def kwargs(self) -> Mapping[str, Any]: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def key(self) -> str | None: ...

    def in_flight(self, instance: Instance) -> int:
        """The requests of this process that the instance has not answered."""
        ...


class Policy(Protocol):
    """Chooses among instances. A client calls `pick` once for each attempt of a request, on its event loop."""

    def pick(self, instances: Sequence[Instance], request: Request) -> Instance:
        """One of `instances`: never empty, in order of registration, without those that already failed the request."""
        ...


class RoundRobin:
    """Each in turn."""

    def __init__(self) -> None:
        self._next = 0

    def pick(self, instances: Sequence[Instance], request: Request) -> Instance:  # noqa: ARG002
        chosen = instances[self._next % len(instances)]
        self._next += 1
        return chosen


class Random:
    """Any, with equal chance."""

    def pick(self, instances: Sequence[Instance], request: Request) -> Instance:  # noqa: ARG002
        return random.choice(instances)  # noqa: S311


class LeastLoaded:
    """The one of two random instances that has fewer requests in flight.

    Two are enough to keep the load even, and unlike the least of all they do not send every caller to the same one
    (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing").
    """

    def pick(self, instances: Sequence[Instance], request: Request) -> Instance:
        if len(instances) == 1:
            return instances[0]
        one, other = random.sample(instances, 2)
        return one if request.in_flight(one) <= request.in_flight(other) else other


class Affinity:
    """The same instance for the same key, from every caller, for as long as it is there; without a key any.

    Rendezvous hashing: when an instance goes only its keys move, and when one comes it takes an equal share from each.
    """

    def pick(self, instances: Sequence[Instance], request: Request) -> Instance:
        if request.key is None:
            return random.choice(instances)  # noqa: S311
        key = int.from_bytes(blake2b(request.key.encode(), digest_size=8).digest())
        return max(instances, key=lambda instance: _mixed(key ^ instance.instance_id))


POLICIES: Final[Mapping[PolicyName, Callable[[], Policy]]] = {
    "round_robin": RoundRobin,
    "random": Random,
    "least_loaded": LeastLoaded,
    "affinity": Affinity,
}


def _mixed(number: int) -> int:
    """The finalizer of SplitMix64: every bit of the number decides over every bit of the result."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _MASK
    return number ^ number >> 31
