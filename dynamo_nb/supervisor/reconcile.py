"""Decides what has to change to get from the workers that run to those of a GraphSpec. It only decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dynamo_nb.graph.spec import GraphSpec


@dataclass(frozen=True)
class Running:
    """The workers of one service that run.

    Attributes:
        fingerprint: see `GraphSpec.fingerprint`.
        indices: indices of the workers.
        identity: see `GraphSpec.identity`.
    """

    fingerprint: str
    indices: tuple[int, ...]
    identity: str = ""


@dataclass(frozen=True)
class Change:
    """The change of one service.

    Attributes:
        service: its name.
        start: indices of new workers.
        stop: indices of workers to drain once the new ones serve.
        reconfigure: indices of workers that get other configuration and go on.
    """

    service: str
    start: tuple[int, ...] = ()
    stop: tuple[int, ...] = ()
    reconfigure: tuple[int, ...] = ()

    @property
    def replaces(self) -> bool:
        """True if new workers take over from old ones of the same service."""
        return bool(set(self.start) & set(self.stop))


def changes(running: Mapping[str, Running], spec: GraphSpec) -> list[Change]:
    """The smallest changes that lead to a graph.

    Args:
        running: running workers by service, dependencies before dependants.
        spec: the desired graph.

    Returns:
        Services that are removed, then the others, dependencies before dependants. Old workers are drained in the
        reverse order, so that a removed service serves as long as it has callers.
    """
    found = [Change(name, stop=now.indices) for name, now in running.items() if name not in spec.started]
    for name, service in spec.started.items():
        now = running.get(name)
        desired = tuple(range(service.workers))
        if now is None:
            change = Change(name, start=desired)
        elif (same := now.fingerprint == spec.fingerprint(name)) or _reconfigures(now, spec, name):
            start = tuple(i for i in desired if i not in now.indices)
            stop = tuple(i for i in now.indices if i not in desired)
            going_on = tuple(i for i in now.indices if i in desired)
            change = Change(name, start=start, stop=stop, reconfigure=() if same else going_on)
        else:
            change = Change(name, start=desired, stop=now.indices)
        if change.start or change.stop or change.reconfigure:
            found.append(change)
    return found


def _reconfigures(now: Running, spec: GraphSpec, service: str) -> bool:
    """True if only the configuration differs, and the workers can be reconfigured."""
    return spec.services[service].reconfigures and now.identity == spec.identity(service)
