"""What has to change to get from the workers that run to those that a GraphSpec asks for. Decides; does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dynamo_nb.graph.spec import GraphSpec


@dataclass(frozen=True)
class Running:
    """What runs of one service now, and the indices of its workers. See GraphSpec for the two digests."""

    fingerprint: str
    indices: tuple[int, ...]
    identity: str = ""


@dataclass(frozen=True)
class Change:
    """What one service needs.

    start: indices of new workers. stop: indices of workers to drain once those serve. reconfigure: indices of workers
    that go on with other configuration.
    """

    service: str
    start: tuple[int, ...] = ()
    stop: tuple[int, ...] = ()
    reconfigure: tuple[int, ...] = ()

    @property
    def replaces(self) -> bool:
        """Whether new workers take over from old ones of the same service."""
        return bool(set(self.start) & set(self.stop))


def changes(running: Mapping[str, Running], spec: GraphSpec) -> list[Change]:
    """The least that reaches `spec`: services that go away, then dependencies before dependants.

    running: dependencies before dependants. What is old is drained in the opposite order: a service that goes away
    serves its callers for as long as there are any.
    """
    found = [Change(name, stop=now.indices) for name, now in running.items() if name not in spec.started]
    for name, service in spec.started.items():
        now = running.get(name)
        wanted = tuple(range(service.workers))
        if now is None:
            change = Change(name, start=wanted)
        elif (same := now.fingerprint == spec.fingerprint(name)) or _reconfigures(now, spec, name):
            start = tuple(i for i in wanted if i not in now.indices)
            stop = tuple(i for i in now.indices if i not in wanted)
            kept = tuple(i for i in now.indices if i in wanted)
            change = Change(name, start=start, stop=stop, reconfigure=() if same else kept)
        else:
            change = Change(name, start=wanted, stop=now.indices)
        if change.start or change.stop or change.reconfigure:
            found.append(change)
    return found


def _reconfigures(now: Running, spec: GraphSpec, service: str) -> bool:
    """Whether only the configuration differs, and the workers can take another."""
    return spec.services[service].reconfigures and now.identity == spec.identity(service)
