"""The import path `dynamo.sdk`: the objects of `dynamo_nb` under the names in the documentation of the Dynamo SDK.

`dynamo` is a namespace package, so that ai-dynamo-runtime can be installed too, which has other parts of `dynamo`.
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
