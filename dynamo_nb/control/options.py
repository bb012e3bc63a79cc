"""How a deployment is run: what its owner tells the supervisor at the start."""

from __future__ import annotations

from dataclasses import dataclass, field

from dynamo_nb.runtime.connection_settings import Access
from dynamo_nb.supervisor.health_check import HANG_LIMIT
from dynamo_nb.supervisor.ports import DEFAULT_HOST, DEFAULT_PORT

METRICS_HOST, METRICS_PORT = "127.0.0.1", 0
DRAIN_GRACE = 30.0
"""Seconds that a worker has to finish the requests it holds."""


@dataclass(frozen=True)
class Options:
    """How a deployment is run.

    access: how workers and callers reach each other; without a URL of NATS the embedded one. kernels: workers are
    kernels.
    owner: pid of the process whose life the deployment shares; None when detached. owned_by: what that is, in words.
    worker_host: address on which workers listen for other machines; None for this one only. grace: seconds that a
    worker has to finish what it holds. hang: seconds that a worker's event loop may be silent before the worker is
    replaced; 0 for ever.
    metrics_host, metrics_port: where Prometheus finds the metrics; 0 for a free port.
    http_port_asked: whether http_port must be had; else the next free one does. shared: its workers may be called from
    every deployment in their namespace.
    http: services with HTTP endpoints are to be expected, so that what they need is imported before they are forked.
    """

    folder: str = ""
    name: str = ""
    owner: int | None = None
    owned_by: str = ""
    access: Access = field(default_factory=Access)
    worker_host: str | None = None
    http_host: str = DEFAULT_HOST
    http_port: int = DEFAULT_PORT
    http_port_asked: bool = True
    kernels: bool = True
    grace: float = DRAIN_GRACE
    hang: float = HANG_LIMIT
    metrics_host: str = METRICS_HOST
    metrics_port: int = METRICS_PORT
    http: bool = False
    shared: bool = False
