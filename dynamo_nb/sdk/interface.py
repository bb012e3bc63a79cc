"""Interfaces: dependencies that any service with the right endpoints can fill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynamo_nb.sdk.endpoint import Endpoint, endpoints_of

MARK = "__dynamo_service__"
"""The attribute of a service's class that holds its ServiceDefinition."""


class AbstractService:
    """Base class of an interface.

    Its methods with `@abstract_endpoint` are the endpoints that a service of this interface must have. A dependency on
    the interface is filled by a link to such a service.

    Example:
        A frontend that works with every generator::

            class Generator(AbstractService):
                @abstract_endpoint
                async def generate(self, text: str): ...


            @service
            class Frontend:
                generator = depends(Generator)


            @service
            class Echo(Generator):
                @dynamo_endpoint()
                async def generate(self, text: str):
                    yield text


            Frontend.link(Echo)

    """


def abstract_endpoint(function: Callable[..., Any]) -> Any:
    """Marks a method of an `AbstractService` as an endpoint that every service of this interface must have.

    Args:
        function: An asynchronous method. Its body is never run.

    Returns:
        The abstract endpoint.

    """
    return Endpoint(function, abstract=True)


def is_interface(cls: object) -> bool:
    """True if `cls` is an interface rather than a service."""
    return isinstance(cls, type) and issubclass(cls, AbstractService) and MARK not in vars(cls)


def missing_endpoints(cls: type) -> list[str]:
    """The names of the abstract endpoints that `cls` inherits and does not implement."""
    return sorted(name for name, endpoint in endpoints_of(cls).items() if endpoint.abstract)
