"""What has to change to get from the workers that run to those that a GraphSpec asks for. Decides; does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dynamo_nb.graph.spec import GraphSpec


@dataclass(frozen=True)
class Running:
    """What runs of one service now: its fingerprint, and the indices of its workers."""

    fingerprint: str
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Change:
    """What one service needs. start: indices of new workers. stop: indices of workers to drain once those serve."""

    service: str
    start: tuple[int, ...] = ()
    stop: tuple[int, ...] = ()

    @property
    def replaces(self) -> bool:
        """Whether new workers take over from old ones of the same service."""
        return bool(set(self.start) & set(self.stop))


def changes(running: Mapping[str, Running], spec: GraphSpec) -> list[Change]:
    """The least that reaches `spec`: dependencies before dependants, services that go away last."""
    found = []
    for name, service in spec.started.items():
        now = running.get(name)
        wanted = tuple(range(service.workers))
        if now is None:
            change = Change(name, start=wanted)
        elif now.fingerprint != spec.fingerprint(name):
            change = Change(name, start=wanted, stop=now.indices)
        else:
            start = tuple(i for i in wanted if i not in now.indices)
            stop = tuple(i for i in now.indices if i not in wanted)
            change = Change(name, start=start, stop=stop)
        if change.start or change.stop:
            found.append(change)
    gone = [name for name in running if name not in spec.started]
    found += [Change(name, stop=running[name].indices) for name in gone]
    return found
