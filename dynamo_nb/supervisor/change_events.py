"""The events of a change of a deployment, from the graphs before and after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dynamo_nb.control.events import EventKind
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.supervisor.reconcile import Change


class ChangeEvent(NamedTuple):
    """The content of an event; see `Event`."""

    kind: EventKind
    text: str
    service: str = ""


def change_events(before: GraphSpec | None, after: GraphSpec, changes: Sequence[Change]) -> Iterator[ChangeEvent]:
    """Yields the events of a successful change.

    Args:
        before: the graph before the change; None for the first graph.
        after: the graph after the change.
        changes: changes by service, see `reconcile.changes`.
    """
    if before is None:
        workers = sum(service.workers for service in after.started.values())
        yield ChangeEvent("started", f"serves {_count(len(after.started), 'service')} with {_count(workers, 'worker')}")
        return
    yield from _links(before, after)
    for change in changes:
        yield _of_service(change, before, after)


def _links(before: GraphSpec, after: GraphSpec) -> Iterator[ChangeEvent]:
    old, new = _active(before), _active(after)
    for source, target in new:
        if (source, target) not in old and source in before.started:
            yield ChangeEvent("linked", f"{source} uses {target}", source)
    for source, target in old:
        if (source, target) not in new and source in after.started:
            yield ChangeEvent("unlinked", f"{source} no longer uses {target}", source)


def _active(spec: GraphSpec) -> list[tuple[str, str]]:
    return list(dict.fromkeys((edge.source, edge.target) for edge in spec.edges if edge.active))


def _of_service(change: Change, before: GraphSpec, after: GraphSpec) -> ChangeEvent:
    name = change.service
    if name not in after.started:
        return ChangeEvent("updated", f"{name} was stopped: nothing uses it any more", name)
    new = after.started[name].workers
    if name not in before.started:
        return ChangeEvent("updated", f"{name} was started with {_count(new, 'worker')}", name)
    old = before.started[name].workers
    if change.replaces:
        code = before.services[name].digest != after.services[name].digest
        config = before.config.get(name) != after.config.get(name)
        what = [text for differs, text in ((code, "code"), (config, "configuration")) if differs]
        why = f" ({' and '.join(what)})" if what else ""
        if before.fingerprint(name) == after.fingerprint(name):
            return ChangeEvent("restarted", f"{name} was restarted: {_count(new, 'new worker')}", name)
        return ChangeEvent("updated", f"{name} was replaced{why}: {_count(new, 'new worker')}", name)
    if change.reconfigure and old == new:
        return ChangeEvent("updated", f"{name} took its new configuration without new workers", name)
    if old == new:
        return ChangeEvent("updated", f"{name} has {_count(new, 'worker')} again", name)
    return ChangeEvent("scaled", f"{name} was scaled from {old} to {_count(new, 'worker')}", name)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
