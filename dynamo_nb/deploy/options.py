"""How a deployment is run: what its owner tells the supervisor at the start."""

from __future__ import annotations

from dataclasses import dataclass

from dynamo_nb.deploy.ports import DEFAULT_HOST, DEFAULT_PORT

DRAIN_GRACE = 30.0
"""Seconds that a worker has to finish the requests it holds."""


@dataclass(frozen=True)
class Options:
    """How a deployment is run.

    nats_url: a server of one's own; None for the embedded one. kernels: workers are kernels.
    owner: pid of the process whose life the deployment shares; None when detached. host: address on which workers
    listen for other machines; None for this one only. grace: seconds that a worker has to finish what it holds.
    http: services with HTTP endpoints are to be expected, so that what they need is imported before they are forked.
    """

    folder: str
    name: str
    owner: int | None
    nats_url: str | None = None
    host: str | None = None
    http_host: str = DEFAULT_HOST
    http_port: int = DEFAULT_PORT
    kernels: bool = True
    grace: float = DRAIN_GRACE
    http: bool = False
