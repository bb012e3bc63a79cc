"""The entry of a graph, where a target names no service: the one service that no other depends on."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from dynamo_nb.errors import TargetError, suggestion
from dynamo_nb.sdk.definition import definition_of, is_service


def entry_class(namespace: Mapping[str, Any], service: str, place: str) -> type:
    """Returns the entry's class among the names of a module.

    Args:
        namespace: The module's names.
        service: Name of the entry, or of its class; "" for the only service that no other depends on.
        place: The module, for messages.

    Raises:
        TargetError: The service was not found, or there is not exactly one.
    """
    found: dict[str, type] = {definition_of(v).name: v for v in namespace.values() if is_service(v)}
    if service:
        entry: type | None = namespace.get(service) if is_service(namespace.get(service)) else found.get(service)
        if entry is None:
            remedy = suggestion(service, found)
            raise TargetError(f"{place} has no service {service!r}", where=f"{place}:{service}", remedy=remedy)
        return entry
    dependencies = {d.target_name for cls in found.values() for d in definition_of(cls).dependencies.values()}
    return found[only_root(found, dependencies, place)]


def only_root(names: Iterable[str], dependencies: Container[str], place: str) -> str:
    """Returns the only service that is not a dependency. Raises TargetError if there is not exactly one."""
    roots = [name for name in names if name not in dependencies]
    if len(roots) != 1:
        what = f"several services can be the entry: {', '.join(roots)}" if roots else "no service can be the entry"
        first = next(iter([*roots, *names]), "Service")
        raise TargetError(f"{place}: {what}", where=place, remedy=f"name one: {place}:{first}")
    return roots[0]
