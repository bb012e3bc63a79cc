from dynamo_nb.sdk import (
    api,
    async_on_shutdown,
    async_on_start,
    dynamo_api,
    dynamo_endpoint,
    endpoint,
    liveness,
    on_shutdown,
    readiness,
)

__all__ = [
    "api",
    "async_on_shutdown",
    "async_on_start",
    "dynamo_api",
    "dynamo_endpoint",
    "endpoint",
    "liveness",
    "on_shutdown",
    "readiness",
]
