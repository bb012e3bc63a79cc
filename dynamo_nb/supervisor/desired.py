"""The desired state of a deployment: the release that a client applied, and the scale of its services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from dynamo_nb.control.release import Release
from dynamo_nb.errors import DeploymentError, PlacementError
from dynamo_nb.graph.spec import GraphSpec

MAX_WORKERS: Final = 1000
"""Workers of one service. A machine has room for far fewer processes; more is a typing error."""


@dataclass(frozen=True)
class Slot:
    """The place of one worker in its service. A worker that replaces another takes its slot."""

    service: str
    index: int


@dataclass(frozen=True)
class Desired:
    """The desired state of a deployment.

    Attributes:
        applied: the release as its client applied it.
        scaled: numbers of workers by service, where they differ from the release.
    """

    applied: Release
    scaled: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises PlacementError for more workers than MAX_WORKERS."""
        for name, service in self.spec.started.items():
            if service.workers > MAX_WORKERS:
                what = f"{name} cannot have {service.workers:,} workers on this machine"
                raise PlacementError(what, remedy=f"ask for {MAX_WORKERS:,} or fewer")

    @cached_property
    def spec(self) -> GraphSpec:
        """The graph, with the numbers that services were scaled to."""
        return self.applied.spec.with_workers(self.scaled)

    @property
    def release(self) -> Release:
        """The applied release with `spec`."""
        return replace(self.applied, spec=self.spec)

    def apply(self, release: Release) -> Desired:
        """Another release. A service stays scaled until the release changes its number of workers."""
        before, after = self.applied.spec.services, release.spec
        scaled = {
            name: count
            for name, count in self.scaled.items()
            if name in after.started and name in before and after.services[name].workers == before[name].workers
        }
        return Desired(release, scaled)

    def scale(self, workers: Mapping[str, int]) -> Desired:
        """Other numbers of workers, by service. Raises DeploymentError for what is not a number of workers."""
        for name, count in workers.items():
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                remedy = "use a whole number, 0 or more"
                raise DeploymentError(f"{name} cannot have {count!r} workers", remedy=remedy)
        return Desired(self.applied, {**self.scaled, **workers})

    def has(self, slot: Slot) -> bool:
        """True if there should be a worker in this slot."""
        return has_slot(self.spec, slot)


def has_slot(spec: GraphSpec, slot: Slot) -> bool:
    """True if the graph has a worker in this slot."""
    started = spec.started
    return slot.service in started and slot.index < started[slot.service].workers
