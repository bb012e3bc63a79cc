"""The options of a deployment, which a client passes to a new supervisor, and their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dynamo_nb.runtime.connection_settings import ConnectionSettings

HTTP_HOST, HTTP_PORT = "127.0.0.1", 8000
METRICS_HOST, METRICS_PORT = "127.0.0.1", 0
DRAIN_GRACE: Final = 30.0
"""Seconds for a worker to finish its requests before it is stopped."""
HANG_LIMIT: Final = 30.0
"""Seconds that a worker's event loop may be silent. A cell that a person runs in the worker's kernel blocks it too."""


@dataclass(frozen=True)
class Options:
    """Options of a deployment.

    Attributes:
        folder: folder of the deployment, see `state_dir.new_folder`.
        name: name of the deployment.
        owner: pid of the process whose life the deployment shares; None if it is detached.
        client: pid of the process that starts the deployment, detached or not. A GPU that it uses counts as free.
        notebook: the notebook that serves, see `Record.notebook`.
        served_with: see `Record.served_with`.
        owned_by: name of the client in messages, such as a notebook's name.
        access: settings to connect workers and callers; without a URL of NATS the supervisor starts its own server.
        worker_host: address on which workers listen for other machines; None for this machine only.
        http_host: address of HTTP endpoints.
        http_port: first port of HTTP endpoints; 0 for any free one.
        http_port_required: True if another port than `http_port` is an error, False if the next free one does.
        kernels: True if workers are Jupyter kernels.
        grace: seconds for a worker to finish its requests.
        hang: seconds that a worker's event loop may be silent before the worker is replaced; 0 for no limit.
        metrics_host: address of the page for Prometheus.
        metrics_port: its port; 0 for any free one.
        metrics_token: what readers other than the owner must send; "" for none.
        http: True if services with HTTP endpoints are expected. Their libraries are then imported before the fork.
        shared: True if every deployment in the namespace of the workers may call them.
    """

    folder: str = ""
    name: str = ""
    owner: int | None = None
    client: int | None = None
    owned_by: str = ""
    notebook: str = ""
    served_with: str = ""
    access: ConnectionSettings = field(default_factory=ConnectionSettings)
    worker_host: str | None = None
    http_host: str = HTTP_HOST
    http_port: int = HTTP_PORT
    http_port_required: bool = True
    kernels: bool = True
    grace: float = DRAIN_GRACE
    hang: float = HANG_LIMIT
    metrics_host: str = METRICS_HOST
    metrics_port: int = METRICS_PORT
    metrics_token: str = field(default="", repr=False)
    http: bool = False
    shared: bool = False

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Options:
        """Reads what `dataclasses.asdict` returned."""
        return cls(**{**data, "access": ConnectionSettings(**data["access"])})
