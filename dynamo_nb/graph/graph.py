"""A Graph: the services that an entry reaches, and the edges between them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dynamo_nb.drawing.dot import dot
from dynamo_nb.drawing.mimebundle import mimebundle
from dynamo_nb.drawing.picture import Arrow, Node, Picture
from dynamo_nb.drawing.svg import svg
from dynamo_nb.drawing.text import text
from dynamo_nb.errors import DefinitionError, LinkError, suggestion
from dynamo_nb.sdk.definition import ServiceDefinition, definition_of, is_service
from dynamo_nb.sdk.dependency import Dependency
from dynamo_nb.sdk.linking import fills
from dynamo_nb.sdk.links import LinkBook, links_in

if TYPE_CHECKING:
    import graphviz


@dataclass(frozen=True)
class Edge:
    """A dependency between two services: `source.attribute` depends on `target`.

    Attributes:
        source: name of the service that depends.
        attribute: its attribute.
        target: name of the service or interface that it depends on.
        active: True if a link chose the edge, or if the source has no links at all.
        optional: True if the source serves without the target, and does not wait for it.
    """

    source: str
    attribute: str
    target: str
    active: bool
    optional: bool = False


@dataclass(frozen=True)
class Graph:
    """The services that an entry reaches, and the edges between them.

    Example:
        >>> Frontend.link(Backend)
        >>> graph = Graph.of(Frontend)
        >>> print(graph)
        >>> deployment = await serve(graph)

    Attributes:
        entry: name of the entry.
        services: every service that a declared edge reaches, by name, in order of discovery.
        edges: the edges between them.
        known: names of further services in the namespace. Configuration may name them.
        forced: links (source, target) that were removed with `force=True`.
    """

    entry: str
    services: Mapping[str, ServiceDefinition]
    edges: tuple[Edge, ...]
    known: frozenset[str] = frozenset()
    forced: frozenset[tuple[str, str]] = field(default=frozenset(), compare=False)

    @classmethod
    def of(
        cls,
        entry: type,
        namespace: Mapping[str, Any] | None = None,
        *,
        links: LinkBook | None = None,
        load: Callable[[ServiceDefinition], type | None] | None = None,
        named: Mapping[str, Callable[[], type]] | None = None,
    ) -> Graph:
        """Returns the graph of an entry, with the links of a module or notebook.

        Args:
            entry: the service to start from.
            namespace: global names of the module or notebook; None for the caller's. Services are looked up in it by
                name, so a class whose cell ran again is used in its current form.
            links: links to use instead of the namespace's own.
            load: returns the class of a service that an active edge reaches, for callers whose dependencies are only
                interfaces.
            named: further services by name; each is created when a dependency names it.

        Raises:
            DefinitionError: two services have the same name, or a dependency names an unknown service.
            LinkError: no link fills an interface, or a link does not fit the dependencies.
        """
        namespace = sys._getframe(1).f_globals if namespace is None else namespace
        links = links_in(namespace) if links is None else links
        return _Builder(namespace, links, load or (lambda _: None), named or {}).build(definition_of(entry))

    @cached_property
    def running(self) -> tuple[str, ...]:
        """The services that an active path reaches, dependencies before dependants; in a cycle, as discovered."""
        order: list[str] = []
        seen = set()

        def visit(name: str) -> None:
            seen.add(name)
            for edge in self.edges:
                if edge.source == name and edge.active and edge.target not in seen:
                    visit(edge.target)
            order.append(name)

        visit(self.entry)
        return tuple(order)

    def bindings(self, service: str) -> dict[str, str | None]:
        """Returns the dependencies of a service.

        Args:
            service: The name of the service.

        Returns:
            The name of the connected service by attribute; None if the dependency is inactive.
        """
        found: dict[str, str | None] = {}
        for edge in self.edges:
            if edge.source == service:
                found[edge.attribute] = edge.target if edge.active else found.get(edge.attribute)
        return found

    def picture(self) -> Picture:
        """Returns what a drawing of the graph shows."""
        running = set(self.running)
        nodes = tuple(
            Node(
                name=d.name,
                namespace=d.namespace,
                workers=int(d.args.get("workers", 1)),
                resources=dict(d.args.get("resources", {})),
                endpoints=tuple(d.endpoints),
                running=d.name in running,
                local=not d.enabled,
                entry=d.name == self.entry,
            )
            for d in self.services.values()
        )
        return Picture(nodes, tuple(Arrow(e.source, e.target, e.attribute, e.active) for e in self.edges), self.entry)

    @property
    def dot(self) -> graphviz.Digraph:
        """The drawing as a `graphviz.Digraph`."""
        return dot(self.picture())

    @property
    def svg(self) -> str:
        """The drawing as SVG."""
        return svg(self.picture())

    def __str__(self) -> str:
        return text(self.picture())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return mimebundle(self.picture())


class _Builder:
    """Follows the declared edges from the entry and decides which are active."""

    def __init__(
        self,
        namespace: Mapping[str, Any],
        links: LinkBook,
        load: Callable[[ServiceDefinition], type | None],
        factories: Mapping[str, Callable[[], type]],
    ) -> None:
        self.links, self.load, self.factories = links, load, factories
        self.named = _services_in(namespace)
        self.modules: dict[str, dict[str, type]] = {}
        self.services: dict[str, ServiceDefinition] = {}
        self.edges: list[Edge] = []

    def build(self, entry: ServiceDefinition) -> Graph:
        entry = self.current(entry)
        todo = [entry]
        self.services[entry.name] = entry
        for service in todo:
            for target in self.edges_of(service):
                known = self.services.get(target.name)
                if known is None:
                    self.services[target.name] = target
                    todo.append(target)
                elif known.cls is not target.cls and self.load(target) is None:
                    raise DefinitionError(
                        f"two services are named {target.name}",
                        where=f"{known.where}, and {target.where}",
                        remedy='rename one: @service(dynamo={"name": "…"})',
                    )
        names = frozenset({*self.named, *self.factories})
        graph = Graph(entry.name, self.services, tuple(self.edges), names, frozenset(self.links.forced))
        running = set(graph.running)
        for edge in self.edges:
            if edge.source in running and edge.active and edge.target not in self.services:
                raise LinkError(
                    f"{edge.source}.{edge.attribute} depends on the interface {edge.target}, and no link fills it",
                    where=self.services[edge.source].where,
                    remedy=_links_elsewhere(edge.source) or f"link a service that implements it: {edge.source}.link(…)",
                )
        return graph

    def edges_of(self, service: ServiceDefinition) -> Iterable[ServiceDefinition]:
        """Adds the edges of one service and yields their targets."""
        linked = [self.find(name, service) for name in self.links.targets(service.name)]
        for target in linked:
            if not any(fills(d, target) for d in service.dependencies.values()):
                raise LinkError(
                    f"{service.name} is linked to {target.name} and no longer depends on it",
                    where=str(self.links.origin(service.name, target.name)),
                    remedy=f"remove the link, {service.name}.unlink({target.name}), or declare the dependency",
                )
        for attribute, dependency in service.dependencies.items():
            chosen = [target for target in linked if fills(dependency, target)]
            if len(chosen) > 1:
                raise LinkError(
                    f"{service.name}.{attribute} is linked to several services: {', '.join(t.name for t in chosen)}",
                    where=service.where,
                    remedy="unlink all but one",
                )
            if dependency.interface is not None and not chosen:
                active = not linked and not dependency.optional
                self.edges.append(Edge(service.name, attribute, dependency.target_name, active, dependency.optional))
                continue
            target = chosen[0] if chosen else self.target(dependency, service)
            active = bool(chosen) or (not linked and not dependency.optional)
            if active and (cls := self.load(target)) is not None:
                target = definition_of(cls)
            self.edges.append(Edge(service.name, attribute, target.name, active, dependency.optional))
            yield target

    def target(self, dependency: Dependency, owner: ServiceDefinition) -> ServiceDefinition:
        if isinstance(dependency.target, str):
            return self.find(dependency.target, owner)
        return self.current(definition_of(dependency.target))

    def find(self, name: str, owner: ServiceDefinition) -> ServiceDefinition:
        """A service by name: from the namespace, the owner's module, a link, or a factory."""
        in_module = self.of_module(owner.cls.__module__)
        cls = self.named.get(name) or in_module.get(name) or self.links.classes.get(name)
        if cls is None and name in self.factories:
            cls = self.factories[name]()
        if cls is None:
            raise DefinitionError(
                f"{owner.name} depends on {name!r}, and no service has that name",
                where=owner.where,
                remedy=suggestion(name, {*self.named, *in_module, *self.factories}),
            )
        return definition_of(cls)

    def of_module(self, name: str) -> dict[str, type]:
        if name not in self.modules:
            self.modules[name] = _services_in(vars(sys.modules.get(name, sys)))
        return self.modules[name]

    def current(self, definition: ServiceDefinition) -> ServiceDefinition:
        """The definition in its current form, if its cell or module ran again."""
        cls = self.named.get(definition.name)
        if cls is None or cls is definition.cls:
            return definition
        same = (cls.__module__, cls.__qualname__) == (definition.cls.__module__, definition.cls.__qualname__)
        return definition_of(cls) if same else definition


def _services_in(namespace: Mapping[str, Any]) -> dict[str, type]:
    return {definition_of(v).name: v for v in namespace.values() if is_service(v)}


def _links_elsewhere(source: str) -> str:
    """The remedy if an imported module has links of `source`, else empty."""
    for name, module in list(sys.modules.items()):
        if targets := links_in(getattr(module, "__dict__", {})).targets(source):
            return (
                f"the links of {source} in {name} are that module's own: serve it, `dynamo serve {name}`, "
                f"or write them here too: {'; '.join(f'{source}.link({target})' for target in targets)}"
            )
    return ""
