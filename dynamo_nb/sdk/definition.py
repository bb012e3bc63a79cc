"""`ServiceDefinition`: what the decorator `@service` records about a class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamo_nb.errors import DefinitionError
from dynamo_nb.sdk.dependency import Dependency, dependencies_of
from dynamo_nb.sdk.endpoint import Endpoint, endpoints_of
from dynamo_nb.sdk.interface import MARK
from dynamo_nb.sdk.origin import Origin


@dataclass(frozen=True, eq=False)
class ServiceDefinition:
    """The definition of a service, recorded by `@service`. `definition_of` returns it.

    Attributes:
        name: The name in links, configuration and addresses: the class's own unless `dynamo={"name": …}` sets it.
        cls: The class.
        args: The parameters of the decorator, by the fields of `ServiceArgs`. Parameters that were not set are absent.
        origin: Location of the decorator: a cell, or a line of a file.
        app: The FastAPI application given to the decorator, or None.
        members: The attributes that the decorator added to the class.

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
        """The namespace from the decorator; configuration can override it."""
        return str(self._dynamo.get("namespace", "default"))

    @property
    def enabled(self) -> bool:
        """False for a local service: an object that is created in the worker of the service that depends on it."""
        return bool(self._dynamo.get("enabled", True))

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """The endpoints by name, inherited ones included."""
        return endpoints_of(self.cls)

    @property
    def dependencies(self) -> dict[str, Dependency]:
        """The dependencies by attribute, inherited ones included."""
        return dependencies_of(self.cls)

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The parameters of the constructor, without `self`."""
        constructor = getattr(self.cls, "__init__")  # noqa: B009 (mypy rejects self.cls.__init__)
        if constructor is object.__init__:
            return {}
        return dict(list(inspect.signature(constructor).parameters.items())[1:])

    @property
    def where(self) -> str:
        """The decorator and its origin, for error messages."""
        return f"@service of {self.name}, {self.origin}"


def definition_of(cls: object) -> ServiceDefinition:
    """Returns the definition of a service.

    Args:
        cls: A class decorated with `@service`.

    Returns:
        The definition that the decorator recorded.

    Raises:
        DefinitionError: `cls` is not a service.

    """
    found = vars(cls).get(MARK) if isinstance(cls, type) else None
    if found is None:
        if isinstance(cls, type):
            raise DefinitionError(f"{cls.__name__} is not a service", remedy="decorate the class with @service")
        raise DefinitionError(f"{cls!r} is not a service", remedy="pass the class itself, decorated with @service")
    return found  # type: ignore[no-any-return]


def is_service(value: object) -> bool:
    """Returns whether a value is a class that is itself decorated with `@service`.

    Args:
        value: Any object. A subclass of a service is not a service until it is decorated too.

    Returns:
        True for a service.

    """
    return isinstance(value, type) and MARK in vars(value)
