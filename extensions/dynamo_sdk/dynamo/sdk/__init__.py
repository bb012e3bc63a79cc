"""The import path `dynamo.sdk`: the objects of `dynamo_nb` under the names in the documentation of the Dynamo SDK.

`dynamo` is a namespace package, so that ai-dynamo-runtime can be installed too, which has other parts of `dynamo`.
"""

from typing import TYPE_CHECKING, Any

from dynamo.sdk.lib.image import DYNAMO_IMAGE
from dynamo_nb.sdk import (
    AbstractService,
    DynamoTransport,
    abstract_endpoint,
    api,
    async_on_shutdown,
    async_on_start,
    depends,
    dynamo_api,
    dynamo_context,
    dynamo_endpoint,
    endpoint,
    liveness,
    on_shutdown,
    readiness,
    service,
)
from dynamo_nb.sdk.service_config import ServiceConfig

if TYPE_CHECKING:
    from dynamo_nb.sdk.service_args import ComponentType as ComponentType
    from dynamo_nb.sdk.service_args import LeaseConfig as LeaseConfig

__all__ = [
    "DYNAMO_IMAGE",
    "AbstractService",
    "ComponentType",
    "DynamoTransport",
    "LeaseConfig",
    "ServiceConfig",
    "abstract_endpoint",
    "api",
    "async_on_shutdown",
    "async_on_start",
    "depends",
    "dynamo_api",
    "dynamo_context",
    "dynamo_endpoint",
    "endpoint",
    "liveness",
    "on_shutdown",
    "readiness",
    "service",
]


AbstractDynamoService = AbstractService
abstract_dynamo_endpoint = abstract_endpoint


def __getattr__(name: str) -> Any:
    # These import pydantic, which a notebook does not wait for.
    if name in {"ComponentType", "LeaseConfig"}:
        from dynamo_nb.sdk import service_args

        return getattr(service_args, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
