"""`@service`: makes a class a service. The class stays a class: it can be called, subclassed and tested."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, TypeVar, overload

from dynamo_nb.errors import DefinitionError, LinkError, nearest
from dynamo_nb.sdk.dependency import Dependency, dependencies_of
from dynamo_nb.sdk.endpoint import Endpoint, endpoints_of
from dynamo_nb.sdk.interface import MARK, is_interface, missing_endpoints
from dynamo_nb.sdk.links import book_in
from dynamo_nb.sdk.origin import Origin, origin_of

C = TypeVar("C", bound=type)

_MEMBERS = ("link", "unlink", "dynamo_address", "dependencies", "inner", "name", "config")


@dataclass(frozen=True, eq=False)
class ServiceDefinition:
    """What `@service` says of a class.

    name: what links, configuration and addresses use.
    args: the decorator's parameters, keyed as the fields of ServiceArgs; those that were not given are absent.
    app: the user's own FastAPI application, if any. members: what the decorator gave to the class.
    """

    name: str
    cls: type
    args: Mapping[str, Any]
    origin: Origin
    app: Any = None
    members: frozenset[str] = frozenset()
    _dynamo: Mapping[str, Any] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return str(self._dynamo.get("namespace", "default"))

    @property
    def enabled(self) -> bool:
        """False for a plain local object that is built inside its dependant's worker."""
        return bool(self._dynamo.get("enabled", True))

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        return endpoints_of(self.cls)

    @property
    def dependencies(self) -> dict[str, Dependency]:
        return dependencies_of(self.cls)

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The constructor's parameters, without `self`."""
        constructor = getattr(self.cls, "__init__")  # noqa: B009 (a type checker distrusts the plain spelling)
        if constructor is object.__init__:
            return {}
        return dict(list(inspect.signature(constructor).parameters.items())[1:])

    @property
    def where(self) -> str:
        return f"@service of {self.name}, {self.origin}"


def definition_of(cls: object) -> ServiceDefinition:
    """The definition of a service; raises DefinitionError for anything else."""
    found = vars(cls).get(MARK) if isinstance(cls, type) else None
    if found is None:
        if isinstance(cls, type):
            raise DefinitionError(f"{cls.__name__} is no service", remedy="decorate the class with @service")
        raise DefinitionError(f"{cls!r} is no service", remedy="give the class itself, one made by @service")
    return found  # type: ignore[no-any-return]


def is_service(value: object) -> bool:
    return isinstance(value, type) and MARK in vars(value)


def _link(cls: type, target: type) -> type:
    """Chooses the edge to `target`; from then on only this service's linked dependencies are active.

    Gives `target`, so that `A.link(B).link(C)` is a path. Raises LinkError if `target` is none of the dependencies.
    """
    frame = sys._getframe(1)
    definition, other = definition_of(cls), definition_of(target)
    dependencies = definition.dependencies
    if not any(fills(dependency, other) for dependency in dependencies.values()):
        declared = ", ".join(f"{d.on} (as {a})" for a, d in dependencies.items()) or "none"
        remedy = f"declare it in {definition.name}: {other.name.lower()} = depends({other.name})"
        if between := _between(dependencies, other):
            remedy = f"link what stands between: {definition.name}.link({between}).link({other.name}), or {remedy}"
        elif dependencies:
            remedy += f", or {nearest(other.name, [d.on for d in dependencies.values()])}"
        raise LinkError(
            f"{definition.name} does not depend on {other.name}; its dependencies: {declared}",
            where=f"{definition.name}.link({other.name}), {origin_of(frame)}",
            remedy=remedy,
        )
    book_in(frame.f_globals).add(definition.name, other.name, origin_of(frame), target)
    return target


def _between(dependencies: Mapping[str, Dependency], target: ServiceDefinition) -> str:
    """The name of a service that one of the dependencies takes, and that depends on `target` itself; "" if none."""
    for dependency in dependencies.values():
        if isinstance(dependency.target, str):
            continue
        for cls in _kinds(dependency.target):
            if is_service(cls) and any(fills(below, target) for below in definition_of(cls).dependencies.values()):
                return definition_of(cls).name
    return ""


def _kinds(cls: type) -> Iterator[type]:
    """A class and those that are made of it, the eldest first."""
    yield cls
    below: list[type] = cls.__subclasses__()
    for derived in below:
        yield from _kinds(derived)


def _unlink(cls: type, target: type) -> None:
    """Takes a link back. Raises LinkError if there is none."""
    frame = sys._getframe(1)
    source, other = definition_of(cls).name, definition_of(target).name
    book = book_in(frame.f_globals)
    if not book.remove(source, other):
        raise LinkError(
            f"{source} is not linked to {other}",
            where=f"{source}.unlink({other}), {origin_of(frame)}",
            remedy=f"links of {source} here: {', '.join(book.targets(source)) or 'none'}",
        )


def fills(dependency: Dependency, definition: ServiceDefinition) -> bool:
    """Whether a service is what a dependency names, or implements the interface that it names."""
    interface = dependency.interface
    if interface is not None:
        # By name, since running the interface's cell again makes another class.
        names = {base.__name__ for base in definition.cls.__mro__ if is_interface(base)}
        return interface.__name__ in names
    return dependency.on == definition.name


def _dynamo_address(cls: type) -> tuple[str, str]:
    """(namespace, name) under which the service registers; in a worker with the deployment's configuration applied."""
    from dynamo_nb.sdk.service_config import ServiceConfig

    definition = definition_of(cls)
    args = ServiceConfig.get_instance().get(definition.name, {}).get("ServiceArgs", {})
    return str(args.get("dynamo", {}).get("namespace", definition.namespace)), definition.name


@overload
def service(cls: C, /) -> C: ...
@overload
def service(
    *,
    dynamo: Mapping[str, Any] | None = None,
    resources: Mapping[str, Any] | None = None,
    workers: int | None = None,
    image: str | None = None,
    envs: Any = None,
    traffic: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    app: Any = None,
    **unknown: Any,
) -> Callable[[C], C]: ...
def service(cls: Any = None, /, *, app: Any = None, **given: Any) -> Any:
    """Makes a class a service; with or without parentheses.

    dynamo: `namespace` (default "default"), `name` (default the class's), `enabled` (default true; false makes a plain
        local object that is built inside its dependant's worker).
    resources: `gpu` (2, "2", 0.5: two workers share one), `cpu` ("10", "500m", 2), `memory` ("20Gi").
    workers: how many processes run it (default 1).
    image: container image for a cluster. envs: environment of the workers, a mapping or a list of name/value pairs.
    traffic: `timeout` in seconds and the like. labels: for the cluster's objects.
    app: a FastAPI application that the HTTP endpoints join.

    All of them are defaults that configuration can override under `ServiceArgs`. The class gains `link`, `unlink`,
    `dependencies`, `dynamo_address`, `inner`, `name` and `config`, unless it has a member of that name itself.

    Raises DefinitionError for an unknown parameter, a class that misses endpoints of its interface, and the like.
    """
    from dynamo_nb.sdk.service_args import ServiceArgs

    frame = sys._getframe(1)
    if unknown := sorted(set(given) - set(ServiceArgs.model_fields)):
        hint = nearest(unknown[0], ServiceArgs.model_fields)
        raise DefinitionError(f"@service has no parameter {unknown[0]!r}", where=str(origin_of(frame)), remedy=hint)
    origin = origin_of(frame)

    def decorate(cls: Any) -> Any:
        if not isinstance(cls, type):
            raise DefinitionError(f"@service decorates a class, not {cls!r}", where=str(origin))
        return _define(cls, {k: v for k, v in given.items() if v is not None}, app, origin)

    return decorate if cls is None else decorate(cls)


def _define(cls: type, args: dict[str, Any], app: Any, origin: Origin) -> type:
    from dynamo_nb.sdk.service_args import checked_args

    args = checked_args(args, f"@service of {cls.__name__}, {origin}")
    dynamo = args.get("dynamo") or {}
    name = str(dynamo.get("name") or cls.__name__)
    members = frozenset(member for member in _MEMBERS if _is_free(cls, member))
    definition = ServiceDefinition(
        name=name, cls=cls, args=args, origin=origin, app=app, members=members, _dynamo=dynamo
    )
    _keep_endpoints(cls)
    _check_endpoints(definition)
    setattr(cls, MARK, definition)
    values = {
        "link": classmethod(_link),
        "unlink": classmethod(_unlink),
        "dynamo_address": classmethod(_dynamo_address),
        "dependencies": definition.dependencies,
        "inner": cls,
        "name": name,
        "config": dict(args),
    }
    for member in members:
        setattr(cls, member, values[member])
    return cls


def _is_free(cls: type, member: str) -> bool:
    """Whether the class has no member of this name, but for what @service gave to it or to its base."""
    owner = next((base for base in cls.__mro__ if member in vars(base)), None)
    return owner is None or (is_service(owner) and member in definition_of(owner).members)


def _keep_endpoints(cls: type) -> None:
    """Overriding an endpoint with a plain method keeps it an endpoint."""
    inherited = {n: e for base in reversed(cls.__mro__) for n, e in vars(base).items() if isinstance(e, Endpoint)}
    for attribute, over in inherited.items():
        value = inspect.getattr_static(cls, attribute)
        if isinstance(value, FunctionType):
            name = over.name if over.name != over.attribute else None
            transports = tuple(over.transports)
            again = Endpoint(value, name=name, transports=transports, http_method=over.http_method, retry=over.retry)
            again.__set_name__(cls, attribute)
            setattr(cls, attribute, again)


def _check_endpoints(definition: ServiceDefinition) -> None:
    """Every endpoint of an interface is implemented, and no name is used twice."""
    cls = definition.cls
    if missing := missing_endpoints(cls):
        raise DefinitionError(
            f"{cls.__name__} does not implement {', '.join(missing)} of its interface",
            where=definition.where,
            remedy="write them as methods with @dynamo_endpoint()",
        )
    if inspect.iscoroutinefunction(inspect.getattr_static(cls, "__init__")):
        raise DefinitionError(
            f"{cls.__name__}.__init__ is asynchronous, and would never be awaited",
            where=definition.where,
            remedy="make it a plain method, and await in one with @async_on_start",
        )
    named: dict[str, str] = {}
    for attribute in dict.fromkeys(attribute for base in reversed(cls.__mro__) for attribute in vars(base)):
        endpoint = inspect.getattr_static(cls, attribute)
        if not isinstance(endpoint, Endpoint) or endpoint.abstract:
            continue
        if attribute in {"link", "unlink"}:
            raise DefinitionError(
                f"{cls.__name__} has an endpoint that is called {attribute}, which is how services are linked",
                where=definition.where,
                remedy=f'call the method otherwise, and name it: @dynamo_endpoint("{attribute}")',
            )
        if (other := named.setdefault(endpoint.name, attribute)) != attribute:
            raise DefinitionError(
                f"two endpoints of {cls.__name__} are named {endpoint.name!r}: {other} and {attribute}",
                where=definition.where,
                remedy="name one of them otherwise",
            )
