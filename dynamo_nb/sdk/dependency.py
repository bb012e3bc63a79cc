"""`depends()`: a declared edge from one service to another."""

from __future__ import annotations

from typing import Any, TypeVar, cast, get_args, overload

from dynamo_nb.errors import DefinitionError, DynamoError, nearest
from dynamo_nb.sdk.call import PolicyName
from dynamo_nb.sdk.interface import MARK, is_interface

T = TypeVar("T")


class Dependency:
    """A declared edge. On an instance in a worker the attribute is a client of the service, or None if not linked.

    target: the service or interface that was named; a string names a service that is defined later. policy: chooses
    among the service's workers. optional: active only where a link chooses it.
    """

    def __init__(self, target: type | str, policy: Any = None, *, optional: bool = False) -> None:
        self.target, self.policy, self.optional = target, policy, optional
        self.attribute = ""
        self.owner = ""

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.attribute, self.owner = attribute, owner.__name__

    @property
    def on(self) -> str:
        """The name of the service, or of the interface, that is depended on."""
        if isinstance(self.target, str):
            return self.target
        definition = vars(self.target).get(MARK)
        return definition.name if definition else self.target.__name__

    @property
    def interface(self) -> type | None:
        """The interface that a link has to fill; None for a dependency on a service."""
        return self.target if isinstance(self.target, type) and is_interface(self.target) else None

    def __get__(self, instance: object | None, owner: type) -> Dependency:
        if instance is None:
            return self
        # Reached only where nothing was put in its place: a worker sets the attribute before `__init__`.
        raise DynamoError(
            f"{self.owner}.{self.attribute} is not connected: this instance was made outside a deployment",
            where=f"{self.owner}.{self.attribute} = depends({self.on})",
            remedy=f"serve the graph, or give the instance a stand-in: instance.{self.attribute} = {self.on}()",
        )

    def __repr__(self) -> str:
        return f"depends({self.on})"


@overload
def depends(target: type[T], *, policy: PolicyName | object | None = None, optional: bool = False) -> T: ...
@overload
def depends(target: str, *, policy: PolicyName | object | None = None, optional: bool = False) -> Any: ...
def depends(target: Any, *, policy: Any = None, optional: bool = False) -> Any:
    """Declares that a service calls another; `backend = depends(Backend)` stands in the class.

    target: a service, an AbstractService that a link will fill, or the name of a service that is defined later.
    policy: which of the service's workers gets a call: "round_robin" (the default), "random", "least_loaded",
    "affinity" (see `key` in `Call.using`), or an object with `pick(instances, request)`.
    optional: True for an edge that is not there until a link chooses it, also where the service has no link at all;
    the attribute is then None. The service does not wait for one that is linked either: its start may find no worker.
    To a type checker the attribute is an instance of the service, so that its endpoints complete and check.

    Raises DefinitionError when the target or the policy is none of these.
    """
    if not (policy is None or policy in get_args(PolicyName) or hasattr(policy, "pick")):
        remedy = (
            nearest(policy, get_args(PolicyName)) if isinstance(policy, str) else "give it pick(instances, request)"
        )
        raise DefinitionError(f"depends(policy={policy!r}): that is no policy", remedy=remedy)
    if isinstance(target, Dependency):
        return Dependency(target.target, policy or target.policy, optional=optional or target.optional)
    if not isinstance(target, str) and not (
        isinstance(target, type) and (MARK in vars(target) or is_interface(target))
    ):
        shown = target.__name__ if isinstance(target, type) else repr(target)
        remedy = f"decorate {shown} with @service" if isinstance(target, type) else "give it a class made by @service"
        raise DefinitionError(f"depends({shown}): that is no service", remedy=remedy)
    return cast("Any", Dependency(target, policy, optional=optional))


def dependencies_of(cls: type) -> dict[str, Dependency]:
    """The dependencies of a class by attribute, inherited ones included, in order of declaration."""
    found: dict[str, Dependency] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            if isinstance(value, Dependency):
                found[attribute] = value
            else:
                found.pop(attribute, None)
    return found
