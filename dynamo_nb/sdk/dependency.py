"""`depends()`: declares that a service calls another one."""

from __future__ import annotations

from typing import Any, TypeVar, cast, get_args, overload

from dynamo_nb.errors import DefinitionError, DynamoError, suggestion
from dynamo_nb.sdk.call import PolicyName
from dynamo_nb.sdk.interface import MARK, is_interface

T = TypeVar("T")


class Dependency:
    """A declared dependency: what `depends()` puts on the class.

    On an instance in a worker the attribute is a client of the service, or None if the dependency is not active.

    Attributes:
        target: The service or interface, or the name of a service that is defined later.
        policy: Policy that chooses a worker for each call; None for the default.
        optional: True if the dependency is active only where a link chooses it.
        attribute: The name of the class attribute.
        owner: The name of the class that declares it.

    """

    def __init__(self, target: type | str, policy: Any = None, *, optional: bool = False) -> None:
        self.target, self.policy, self.optional = target, policy, optional
        self.attribute = ""
        self.owner = ""

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.attribute, self.owner = attribute, owner.__name__

    @property
    def target_name(self) -> str:
        """The name of the service or interface that is the target."""
        if isinstance(self.target, str):
            return self.target
        definition = vars(self.target).get(MARK)
        return definition.name if definition else self.target.__name__

    @property
    def on(self) -> type | str:
        """The target, by its name in the Dynamo SDK."""
        return self.target

    @property
    def interface(self) -> type | None:
        """The interface that a link must fill; None for a dependency on a service."""
        return self.target if isinstance(self.target, type) and is_interface(self.target) else None

    def __get__(self, instance: object | None, owner: type) -> Dependency:
        if instance is None:
            return self
        # A worker sets the attribute on the instance before `__init__`, so it never gets here.
        raise DynamoError(
            f"{self.owner}.{self.attribute} is not connected: this instance was created outside a deployment",
            where=f"{self.owner}.{self.attribute} = depends({self.target_name})",
            remedy=f"serve the graph, or set a stand-in: instance.{self.attribute} = {self.target_name}()",
        )

    def __repr__(self) -> str:
        return f"depends({self.target_name})"


@overload
def depends(target: type[T], *, policy: PolicyName | object | None = None, optional: bool = False) -> T: ...
@overload
def depends(target: str, *, policy: PolicyName | object | None = None, optional: bool = False) -> Any: ...
def depends(target: Any, *, policy: Any = None, optional: bool = False) -> Any:
    """Declares that a service calls another one. The result is an attribute of the service's class.

    A deployment starts the target too. In a worker the attribute is a client: its methods are the target's endpoints.
    For a type checker the attribute is an instance of the target, so endpoints are completed and checked.

    Args:
        target: A service, an `AbstractService` that a link fills, or the name of a service that is defined later.
        policy: Policy that chooses a worker of the target for each call: `"round_robin"` (the default), `"random"`,
            `"least_loaded"`, `"affinity"` (see `key` of `Call.using`), or an object with `pick(instances, request)`.
        optional: True for a dependency that is active only where a link chooses it; otherwise the attribute is None.
            The service does not wait for an optional target: when it starts, the target may have no worker yet.

    Returns:
        The declaration, for the class body.

    Raises:
        DefinitionError: `target` is not a service, or `policy` is not a policy.

    Example:
        A frontend that calls a backend::

            @service
            class Frontend:
                backend = depends(Backend)

                @dynamo_endpoint()
                async def generate(self, text: str):
                    async for word in self.backend.generate(text):
                        yield word

    """
    if not (policy is None or policy in get_args(PolicyName) or hasattr(policy, "pick")):
        remedy = (
            suggestion(policy, get_args(PolicyName))
            if isinstance(policy, str)
            else "pass an object with a method pick(instances, request)"
        )
        raise DefinitionError(f"depends(policy={policy!r}): not a policy", remedy=remedy)
    if isinstance(target, Dependency):
        return Dependency(target.target, policy or target.policy, optional=optional or target.optional)
    if not isinstance(target, str) and not (
        isinstance(target, type) and (MARK in vars(target) or is_interface(target))
    ):
        shown = target.__name__ if isinstance(target, type) else repr(target)
        remedy = f"decorate {shown} with @service" if isinstance(target, type) else "pass a class decorated by @service"
        raise DefinitionError(f"depends({shown}): not a service", remedy=remedy)
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
