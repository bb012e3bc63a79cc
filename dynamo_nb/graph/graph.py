"""A Graph: the services that an entry reaches, and which of the edges between them are active."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
    """`source.attribute` depends on `target`. active: chosen by a link, or by there being no link at all.

    optional: the source serves without it, and so does not wait for it.
    """

    source: str
    attribute: str
    target: str
    active: bool
    optional: bool = False


@dataclass(frozen=True)
class Graph:
    """A value: services by name in order of discovery from the entry, and the edges between them.

    `services` has every service that any declared edge reaches; `running` those that an active path reaches.
    known: names of further services in the namespace; configuration may speak of them.
    """

    entry: str
    services: Mapping[str, ServiceDefinition]
    edges: tuple[Edge, ...]
    known: frozenset[str] = frozenset()

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
        """The graph of `entry` with the links of the module or notebook that `namespace` belongs to.

        namespace: its global names (default: the caller's). Services are looked up there by name, so that a class
        whose cell was run again counts as it is now. links: a book to use instead of the namespace's own.
        load: gives the whole class of a service that an active edge reaches, where dependencies hold only interfaces.
        named: further services by name, each made when a dependency names it.

        Raises DefinitionError for two services of one name or an unknown name, LinkError for an interface that no
        link fills.
        """
        namespace = sys._getframe(1).f_globals if namespace is None else namespace
        links = links_in(namespace) if links is None else links
        return _Builder(namespace, links, load or (lambda _: None), named or {}).build(definition_of(entry))

    @cached_property
    def running(self) -> tuple[str, ...]:
        """The services to start, dependencies before dependants; in a cycle, in order of discovery."""
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
        """Attribute to the service it is connected to; None for an inactive dependency."""
        found: dict[str, str | None] = {}
        for edge in self.edges:
            if edge.source == service:
                found[edge.attribute] = edge.target if edge.active else found.get(edge.attribute)
        return found

    def picture(self) -> Picture:
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
        return dot(self.picture())

    @property
    def svg(self) -> str:
        return svg(self.picture())

    def __str__(self) -> str:
        return text(self.picture())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return mimebundle(self.picture())


class _Builder:
    """Walks the declared edges from the entry and decides which are active. Alone in changing what it has found."""

    def __init__(
        self,
        namespace: Mapping[str, Any],
        links: LinkBook,
        load: Callable[[ServiceDefinition], type | None],
        made: Mapping[str, Callable[[], type]],
    ) -> None:
        self.links, self.load, self.made = links, load, made
        self.named = _services_in(namespace)
        self.modules: dict[str, dict[str, type]] = {}
        self.services: dict[str, ServiceDefinition] = {}
        self.edges: list[Edge] = []

    def build(self, entry: ServiceDefinition) -> Graph:
        entry = self.now(entry)
        todo = [entry]
        self.services[entry.name] = entry
        for service in todo:
            for target in self.edges_of(service):
                held = self.services.get(target.name)
                if held is None:
                    self.services[target.name] = target
                    todo.append(target)
                elif held.cls is not target.cls and self.load(target) is None:
                    raise DefinitionError(
                        f"two services are named {target.name}",
                        where=f"{held.where}, and {target.where}",
                        remedy='rename one: @service(dynamo={"name": "…"})',
                    )
        graph = Graph(entry.name, self.services, tuple(self.edges), frozenset({*self.named, *self.made}))
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
        """Adds the edges that leave one service; gives the services they lead to."""
        linked = [self.find(name, service) for name in self.links.targets(service.name)]
        for target in linked:
            if not any(fills(d, target) for d in service.dependencies.values()):
                raise LinkError(
                    f"{service.name} is linked to {target.name} and no longer depends on it",
                    where=str(self.links.origin(service.name, target.name)),
                    remedy=f"take the link back, {service.name}.unlink({target.name}), or declare the dependency",
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
            if active and (whole := self.load(target)) is not None:
                target = definition_of(whole)
            self.edges.append(Edge(service.name, attribute, target.name, active, dependency.optional))
            yield target

    def target(self, dependency: Dependency, owner: ServiceDefinition) -> ServiceDefinition:
        if isinstance(dependency.target, str):
            return self.find(dependency.target, owner)
        return self.now(definition_of(dependency.target))

    def find(self, name: str, owner: ServiceDefinition) -> ServiceDefinition:
        """A service by name: from the namespace, the owner's module, a link, or made for this."""
        there = self.of_module(owner.cls.__module__)
        cls = self.named.get(name) or there.get(name) or self.links.classes.get(name)
        if cls is None and name in self.made:
            cls = self.made[name]()
        if cls is None:
            raise DefinitionError(
                f"{owner.name} depends on {name!r}, and no service has that name",
                where=owner.where,
                remedy=suggestion(name, {*self.named, *there, *self.made}),
            )
        return definition_of(cls)

    def of_module(self, name: str) -> dict[str, type]:
        if name not in self.modules:
            self.modules[name] = _services_in(vars(sys.modules.get(name, sys)))
        return self.modules[name]

    def now(self, definition: ServiceDefinition) -> ServiceDefinition:
        """The definition as the namespace has it now, if its cell or module was run again since."""
        current = self.named.get(definition.name)
        if current is None or current is definition.cls:
            return definition
        same = (current.__module__, current.__qualname__) == (definition.cls.__module__, definition.cls.__qualname__)
        return definition_of(current) if same else definition


def _services_in(namespace: Mapping[str, Any]) -> dict[str, type]:
    return {definition_of(v).name: v for v in namespace.values() if is_service(v)}


def _links_elsewhere(source: str) -> str:
    """What to do where a module that was imported has links of `source`; "" where there is none."""
    for name, module in list(sys.modules.items()):
        if targets := links_in(getattr(module, "__dict__", {})).targets(source):
            return (
                f"the links of {source} in {name} are that module's own: serve it, `dynamo serve {name}`, "
                f"or write them here too: {'; '.join(f'{source}.link({target})' for target in targets)}"
            )
    return ""
