"""`@service`: makes a class a service. The class stays a class: it can be called, subclassed and tested."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, TypeVar, overload

from dynamo_nb.errors import DefinitionError, suggestion
from dynamo_nb.sdk.definition import ServiceDefinition, definition_of, is_service
from dynamo_nb.sdk.endpoint import Endpoint
from dynamo_nb.sdk.interface import MARK, missing_endpoints
from dynamo_nb.sdk.linking import link, unlink
from dynamo_nb.sdk.origin import Origin, origin_of
from dynamo_nb.sdk.service_config import SERVICE_ARGS, ServiceConfig

C = TypeVar("C", bound=type)

_MEMBERS = ("link", "unlink", "dynamo_address", "dependencies", "inner", "name", "config")


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
def service(cls: Any = None, /, *, app: Any = None, **given: Any) -> Any:  # noqa: D417 (the overload names them)
    """Makes a class a service. The decorator works with and without parentheses.

    All parameters except `app` are defaults: configuration can override them under `ServiceArgs`. The class gets the
    members `link`, `unlink`, `dependencies`, `dynamo_address`, `inner`, `name` and `config`, except for names that it
    already uses. It is still a class: it can be called for a plain instance, and subclassed.

    Args:
        dynamo: `namespace` (default `"default"`), `name` (default: the name of the class) and `enabled` (default
            True). With `enabled` False the service has no workers: each service that depends on it creates an instance
            in its own worker.
        resources: For each worker: `gpu` (`2`, `"2"`, or a share below 1: two workers with `0.5` share a GPU), `cpu`
            (`"10"`, `"500m"`, `2`) and `memory` (`"20Gi"`), as Kubernetes quantities.
        workers: Number of processes that run the service; 1 by default.
        image: Container image for a cluster.
        envs: Environment variables of the workers: a mapping, or a list of `{"name": …, "value": …}`.
        traffic: `timeout`, the seconds for the complete answer to a request, over HTTP (then status 504) or from
            another service (then `DeadlineExceeded`), without limit by default; and `keep_alive`, the seconds after
            which an unused HTTP connection is closed (default 75). Other keys have no effect: `dynamo config` marks
            them, and on the command line they are errors.
        labels: Labels of the objects in a cluster.
        app: A FastAPI application, which gets the HTTP endpoints as routes, or another ASGI application, which answers
            all other requests.

    Returns:
        The class itself.

    Raises:
        DefinitionError: A parameter is unknown or has a wrong type, the class lacks an endpoint of its interface, or
            two endpoints have the same name.

    Example:
        A service with two workers, each with its own GPU::

            @service(dynamo={"namespace": "hello"}, resources={"gpu": 1}, workers=2)
            class Backend:
                @dynamo_endpoint()
                async def generate(self, text: str):
                    for word in text.split():
                        yield word

    """
    # These import pydantic, which a notebook does not wait for.
    from dynamo_nb.sdk.service_args import ServiceArgs, with_names_of_today

    frame = sys._getframe(1)
    given = with_names_of_today(given, str(origin_of(frame)), stacklevel=3)
    if unknown := sorted(set(given) - set(ServiceArgs.model_fields)):
        remedy = suggestion(unknown[0], ServiceArgs.model_fields)
        raise DefinitionError(f"@service has no parameter {unknown[0]!r}", where=str(origin_of(frame)), remedy=remedy)
    origin = origin_of(frame)

    def decorate(cls: Any) -> Any:
        if not isinstance(cls, type):
            raise DefinitionError(f"@service decorates a class, not {cls!r}", where=str(origin))
        return _define(cls, {k: v for k, v in given.items() if v is not None}, app, origin)

    return decorate if cls is None else decorate(cls)


def dynamo_address(cls: type) -> tuple[str, str]:
    """Returns the address under which the service registers, whether or not a dependency on it is active.

    Returns:
        `(namespace, name)`, for `runtime.namespace(…).component(…)`. In a worker the configuration of the deployment
        is applied.

    """
    definition = definition_of(cls)
    args = ServiceConfig.get_instance().get(definition.name, {}).get(SERVICE_ARGS, {})
    return str(args.get("dynamo", {}).get("namespace", definition.namespace)), definition.name


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
        "link": classmethod(link),
        "unlink": classmethod(unlink),
        "dynamo_address": classmethod(dynamo_address),
        "dependencies": definition.dependencies,
        "inner": cls,
        "name": name,
        "config": dict(args),
    }
    for member in members:
        setattr(cls, member, values[member])
    return cls


def _is_free(cls: type, member: str) -> bool:
    """True if the class has no such member. Members that @service added do not count."""
    owner = next((base for base in cls.__mro__ if member in vars(base)), None)
    return owner is None or (is_service(owner) and member in definition_of(owner).members)


def _keep_endpoints(cls: type) -> None:
    """Makes plain methods that override an endpoint endpoints too."""
    inherited = {n: e for base in reversed(cls.__mro__) for n, e in vars(base).items() if isinstance(e, Endpoint)}
    for attribute, base in inherited.items():
        value = inspect.getattr_static(cls, attribute)
        if isinstance(value, FunctionType):
            name = base.name if base.name != base.attribute else None
            transports = tuple(base.transports)
            endpoint = Endpoint(value, name=name, transports=transports, http_method=base.http_method, retry=base.retry)
            endpoint.__set_name__(cls, attribute)
            setattr(cls, attribute, endpoint)


def _check_endpoints(definition: ServiceDefinition) -> None:
    """Checks that every endpoint of an interface is implemented, and that no name is used twice."""
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
            remedy="make it a plain method, and await in a method with @async_on_start",
        )
    attributes: dict[str, str] = {}
    for attribute in dict.fromkeys(attribute for base in reversed(cls.__mro__) for attribute in vars(base)):
        endpoint = inspect.getattr_static(cls, attribute)
        if not isinstance(endpoint, Endpoint) or endpoint.abstract:
            continue
        endpoint.check_types(definition.where)
        if attribute in {"link", "unlink"}:
            raise DefinitionError(
                f"{cls.__name__} has an endpoint method named {attribute!r}, which services use for links",
                where=definition.where,
                remedy=f'rename the method, and give the endpoint its name: @dynamo_endpoint("{attribute}")',
            )
        if (other := attributes.setdefault(endpoint.name, attribute)) != attribute:
            raise DefinitionError(
                f"two endpoints of {cls.__name__} are named {endpoint.name!r}: {other} and {attribute}",
                where=definition.where,
                remedy="give one of them another name",
            )
