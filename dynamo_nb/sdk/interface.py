"""Interfaces: what a dependency needs, without saying which service gives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynamo_nb.sdk.endpoint import Endpoint, endpoints_of

MARK = "__dynamo_service__"
"""Under which a service class holds its definition."""


class AbstractService:
    """Base of an interface. Its `abstract_endpoint` methods are what an implementing service must have.

    `depends(Interface)` declares a dependency on whatever implements it; `.link(Implementation)` fills it.
    """


def abstract_endpoint(function: Callable[..., Any]) -> Any:
    """Marks a method of an AbstractService that every implementation must provide as an endpoint."""
    return Endpoint(function, abstract=True)


def is_interface(cls: object) -> bool:
    """Whether `cls` is an interface rather than a service."""
    return isinstance(cls, type) and issubclass(cls, AbstractService) and MARK not in vars(cls)


def missing_endpoints(cls: type) -> list[str]:
    """The abstract endpoints that `cls` inherits and does not implement."""
    return sorted(name for name, endpoint in endpoints_of(cls).items() if endpoint.abstract)
