"""The API to define graphs: services, endpoints, dependencies, hooks, links."""

from dynamo_nb.sdk.call import Call
from dynamo_nb.sdk.context import dynamo_context
from dynamo_nb.sdk.decorators import api, dynamo_api, dynamo_endpoint, endpoint
from dynamo_nb.sdk.definition import ServiceDefinition, definition_of, is_service
from dynamo_nb.sdk.dependency import Dependency, depends
from dynamo_nb.sdk.endpoint import DynamoTransport, Endpoint
from dynamo_nb.sdk.hooks import async_on_shutdown, async_on_start, liveness, on_shutdown, readiness, reconfigure
from dynamo_nb.sdk.interface import AbstractService, abstract_endpoint
from dynamo_nb.sdk.portal import Pending
from dynamo_nb.sdk.service import service
from dynamo_nb.sdk.trace import trace_note

__all__ = [
    "AbstractService",
    "Call",
    "Dependency",
    "DynamoTransport",
    "Endpoint",
    "Pending",
    "ServiceDefinition",
    "abstract_endpoint",
    "api",
    "async_on_shutdown",
    "async_on_start",
    "definition_of",
    "depends",
    "dynamo_api",
    "dynamo_context",
    "dynamo_endpoint",
    "endpoint",
    "is_service",
    "liveness",
    "on_shutdown",
    "readiness",
    "reconfigure",
    "service",
    "trace_note",
]
