"""The distributed runtime: discovery over NATS, requests over direct connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamo_nb.runtime.call_context import no_request, request_scope
    from dynamo_nb.runtime.client import Client, RemoteCall
    from dynamo_nb.runtime.discovery import Instance
    from dynamo_nb.runtime.nats_server import NatsServer
    from dynamo_nb.runtime.request import Handler, RequestContext
    from dynamo_nb.runtime.routing import POLICIES, Affinity, LeastLoaded, Policy, Request
    from dynamo_nb.runtime.runtime import Component, DistributedRuntime, Endpoint, Namespace

_HOMES = {
    "Affinity": "routing",
    "Client": "client",
    "Component": "runtime",
    "DistributedRuntime": "runtime",
    "Endpoint": "runtime",
    "Handler": "request",
    "Instance": "discovery",
    "LeastLoaded": "routing",
    "Namespace": "runtime",
    "NatsServer": "nats_server",
    "POLICIES": "routing",
    "Policy": "routing",
    "RemoteCall": "client",
    "Request": "routing",
    "RequestContext": "request",
    "no_request": "call_context",
    "request_scope": "call_context",
}

__all__ = [
    "POLICIES",
    "Affinity",
    "Client",
    "Component",
    "DistributedRuntime",
    "Endpoint",
    "Handler",
    "Instance",
    "LeastLoaded",
    "Namespace",
    "NatsServer",
    "Policy",
    "RemoteCall",
    "Request",
    "RequestContext",
    "no_request",
    "request_scope",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
