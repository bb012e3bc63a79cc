"""The import path `dynamo.sdk`: the objects of `dynamo_nb` under the names of the Dynamo SDK's document.

`dynamo` itself is a namespace package, so that this stands beside the `dynamo` of an installed ai-dynamo-runtime.
"""

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

__all__ = [
    "DYNAMO_IMAGE",
    "AbstractService",
    "DynamoTransport",
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
