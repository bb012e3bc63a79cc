"""The distributed runtime: discovery over NATS, requests over direct connections.

The names below are loaded at their first use, so that importing this package is cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamo_nb.runtime.call_context import no_request, request_scope
    from dynamo_nb.runtime.client import Client
    from dynamo_nb.runtime.component import Component, Endpoint, Namespace
    from dynamo_nb.runtime.distributed_runtime import DistributedRuntime
    from dynamo_nb.runtime.instance import Instance
    from dynamo_nb.runtime.nats_server import NatsServer
    from dynamo_nb.runtime.remote_call import RemoteCall
    from dynamo_nb.runtime.request import Handler, RequestContext
    from dynamo_nb.runtime.routing import POLICIES, Affinity, LeastLoaded, Policy, Request

_MODULES = {
    "Affinity": "routing",
    "Client": "client",
    "Component": "component",
    "DistributedRuntime": "distributed_runtime",
    "Endpoint": "component",
    "Handler": "request",
    "Instance": "instance",
    "LeastLoaded": "routing",
    "Namespace": "component",
    "NatsServer": "nats_server",
    "POLICIES": "routing",
    "Policy": "routing",
    "RemoteCall": "remote_call",
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
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
