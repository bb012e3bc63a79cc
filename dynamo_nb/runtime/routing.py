"""Routing: policies that choose the instance for a request."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, Protocol

from dynamo_nb.runtime.instance import Instance
from dynamo_nb.sdk.call import PolicyName

_MASK: Final = (1 << 64) - 1


class Request(Protocol):
    """A request, as a policy sees it."""

    @property
    def path(self) -> str:
        """`namespace/component/endpoint`."""
        ...

    @property
    def args(self) -> Sequence[Any]:
        """Positional arguments of the call."""
        ...

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """Keyword arguments of the call."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Text sent with the arguments."""
        ...

    @property
    def key(self) -> str | None:
        """The affinity key of the call, such as the name of a session."""
        ...

    def in_flight(self, instance: Instance) -> int:
        """Returns the number of this process's requests that an instance has not answered.

        Args:
            instance: The instance.
        """
        ...


class Policy(Protocol):
    """Chooses among instances. A client calls `pick` once for each attempt of a request, on its event loop.

    Example:
        Always the instance that registered last::

            class Newest:
                def pick(self, instances, request):
                    return instances[-1]


            await self.backend.generate(text).using(policy=Newest())
    """

    def pick(self, instances: Sequence[Instance], request: Request) -> Instance:
        """Returns one of the instances.

        Args:
            instances: The candidates, never empty, in order of registration. Instances that already failed this
                request are left out.
            request: The request to route.
        """
        ...


class RoundRobin:
    """Chooses the instances in turn."""

    def __init__(self) -> None:
        self._next = 0

    def pick(self, instances: Sequence[Instance], request: Request) -> Instance:  # noqa: ARG002
        chosen = instances[self._next % len(instances)]
        self._next += 1
        return chosen


class Random:
    """Chooses any instance, with equal probability."""

    def pick(self, instances: Sequence[Instance], request: Request) -> Instance:  # noqa: ARG002
        return random.choice(instances)  # noqa: S311


class LeastLoaded:
    """Chooses the one of two random instances that has fewer requests in flight.

    Two candidates are enough to keep the load even, and unlike the least loaded of all they do not send every caller to
    the same instance (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing").
    """

    def pick(self, instances: Sequence[Instance], request: Request) -> Instance:
        if len(instances) == 1:
            return instances[0]
        one, other = random.sample(instances, 2)
        return one if request.in_flight(one) <= request.in_flight(other) else other


class Affinity:
    """Chooses the same instance for the same key, from every caller; any instance for a request without a key.

    Rendezvous hashing: when an instance leaves, only its keys move; a new instance takes an equal share from each.
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
"""The policies by the name that `depends(policy=…)` and `using(policy=…)` accept."""


def _mixed(number: int) -> int:
    """The finalizer of SplitMix64: each bit of the number affects every bit of the result."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _MASK
    return number ^ number >> 31
