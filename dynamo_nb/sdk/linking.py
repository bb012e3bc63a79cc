"""`link` and `unlink`: how a graph chooses among the declared dependencies of its services."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from dynamo_nb.errors import LinkError, suggestion
from dynamo_nb.sdk.definition import ServiceDefinition, definition_of, is_service
from dynamo_nb.sdk.dependency import Dependency
from dynamo_nb.sdk.interface import is_interface
from dynamo_nb.sdk.links import book_in
from dynamo_nb.sdk.origin import origin_of


def link(cls: type, target: type) -> type:  # noqa: D417 (a class method: callers do not pass `cls`)
    """Activates the dependency on `target`. Once a service has a link, only its linked dependencies are active.

    A link belongs to the module or notebook that makes it. Running a cell again replaces the links it made before.

    Args:
        target: A service that this service depends on, or that implements an interface it depends on.

    Returns:
        `target`, so that `A.link(B).link(C)` is a path. `A.link(B); A.link(C)` links A to both.

    Raises:
        LinkError: This service does not depend on `target`. The message lists its dependencies.

    Example:
        The dependency on `Worker` becomes inactive: `self.worker` is None, and no path from the entry starts it::

            @service
            class Processor:
                worker = depends(Worker)
                router = depends(Router)


            Processor.link(Router)

    """
    frame = sys._getframe(1)
    definition, other = definition_of(cls), definition_of(target)
    dependencies = definition.dependencies
    if not any(fills(dependency, other) for dependency in dependencies.values()):
        declared = ", ".join(f"{d.target_name} (as {a})" for a, d in dependencies.items()) or "none"
        remedy = f"declare it in {definition.name}: {other.name.lower()} = depends({other.name})"
        if between := _between(dependencies, other):
            remedy = f"link the service between them: {definition.name}.link({between}).link({other.name}), or {remedy}"
        elif dependencies:
            remedy += f", or {suggestion(other.name, [d.target_name for d in dependencies.values()])}"
        raise LinkError(
            f"{definition.name} does not depend on {other.name}; its dependencies: {declared}",
            where=f"{definition.name}.link({other.name}), {origin_of(frame)}",
            remedy=remedy,
        )
    book_in(frame.f_globals).add(definition.name, other.name, origin_of(frame), target)
    return target


def unlink(cls: type, target: type, *, force: bool = False) -> None:  # noqa: D417
    """Removes a link. In a service without links, all dependencies are active except optional ones.

    A running deployment holds the change back while the service calls `target`, if its code does not test whether the
    dependency is linked (`if self.backend:`).

    Args:
        target: A service that this service was linked to, in the same module or notebook.
        force: True to change a running deployment in any case, also if the link was removed before.

    Raises:
        LinkError: The link was not found.

    """
    frame = sys._getframe(1)
    source, other = definition_of(cls).name, definition_of(target).name
    book = book_in(frame.f_globals)
    removed = book.remove(source, other)
    if force:
        book.forced.add((source, other))
    elif not removed:
        raise LinkError(
            f"{source} is not linked to {other}",
            where=f"{source}.unlink({other}), {origin_of(frame)}",
            remedy=f"links of {source} here: {', '.join(book.targets(source)) or 'none'}",
        )


def fills(dependency: Dependency, definition: ServiceDefinition) -> bool:
    """True if a service is the target of a dependency, or implements the interface that is the target."""
    interface = dependency.interface
    if interface is not None:
        # Compared by name: running the interface's cell again creates another class.
        names = {base.__name__ for base in definition.cls.__mro__ if is_interface(base)}
        return interface.__name__ in names
    return dependency.target_name == definition.name


def _between(dependencies: Mapping[str, Dependency], target: ServiceDefinition) -> str:
    """The name of a service that fills one of the dependencies and depends on `target` itself; "" if none does."""
    for dependency in dependencies.values():
        if isinstance(dependency.target, str):
            continue
        for cls in _with_subclasses(dependency.target):
            if is_service(cls) and any(fills(d, target) for d in definition_of(cls).dependencies.values()):
                return definition_of(cls).name
    return ""


def _with_subclasses(cls: type) -> Iterator[type]:
    """A class, then its subclasses at every level, in order of definition."""
    yield cls
    subclasses: list[type] = cls.__subclasses__()
    for subclass in subclasses:
        yield from _with_subclasses(subclass)
