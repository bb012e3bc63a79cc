"""`serve()`: from a service and its configuration to a running Deployment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from dynamo_nb.control.options import DRAIN_GRACE, HANG_LIMIT
from dynamo_nb.deployment.config_layers import Config
from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.deployment.plan_source import Check, LiveProgram
from dynamo_nb.deployment.serve_options import ServeOptions
from dynamo_nb.deployment.start import notebook_of, start
from dynamo_nb.errors import DeploymentError, LinkError
from dynamo_nb.graph.graph import Graph
from dynamo_nb.runtime.connection_settings import Plane
from dynamo_nb.sdk.context import importing
from dynamo_nb.sdk.definition import definition_of
from dynamo_nb.sdk.origin import origin_of
from dynamo_nb.sdk.portal import Pending, on_portal


def serve(
    entry: type | Graph,
    *configs: Config,
    name: str = "",
    namespace: str | None = None,
    nats: str | None = None,
    nats_credentials: str | Path | None = None,
    nats_tls: str | Path | None = None,
    worker_host: str | None = None,
    secret: str | None = None,
    tls: str | Path | None = None,
    plane: Plane | None = None,
    http_host: str | None = None,
    http_port: int | None = None,
    metrics_host: str | None = None,
    metrics_port: int | None = None,
    metrics_token: str | None = None,
    detach: bool = False,
    kernels: bool = True,
    grace: float = DRAIN_GRACE,
    hang: float = HANG_LIMIT,
    check: Check = "hold",
) -> Pending[Deployment]:
    """Serves a graph.

    The deployment is returned when all workers are ready. After an error nothing is left running. In a notebook, the
    same cell run again changes the deployment that it has started before.

    Args:
        entry: The entry service, with the links of the calling module or notebook; or a Graph.
        *configs: YAML files and mappings (dotted keys are nested), a later one overrides an earlier one.
        name: Name of the deployment; the entry's by default.
        namespace: Namespace of the whole graph; by default each service has its own.
        nats: URL of a NATS server with JetStream. Default: NATS_SERVER, else the deployment starts its own server.
            A deployment calls its own workers, even if others serve the same graph in the same namespace. Workers that
            `dynamo serve --service-name` starts are shared by all deployments in their namespace.
        nats_credentials: A `.creds` file for the NATS server. Default: NATS_CREDS.
        nats_tls: Folder with the ca.crt of the NATS server. Default: NATS_TLS.
        worker_host: Address on which workers accept calls from other machines. Default: this machine only.
        secret: Secret of callers on other machines. Default: DYNAMO_SECRET, else the token in the URL of NATS.
        tls: Folder with ca.crt, tls.crt and tls.key, to encrypt calls between machines. Default: DYNAMO_TLS.
        plane: "nats" if workers cannot be reached directly: calls then travel over NATS. Default: DYNAMO_PLANE, else
            "direct".
        http_host: Address of the HTTP endpoints. Default: DYNAMO_HOST, else 127.0.0.1.
        http_port: First port of the HTTP endpoints, 0 for any free port. Default: DYNAMO_PORT, else 8000 or the next
            free port, see `Deployment.warnings`.
        metrics_host: Address of the metrics for Prometheus. Default: DYNAMO_METRICS_HOST, else 127.0.0.1.
        metrics_port: Port of the metrics. Default: DYNAMO_METRICS_PORT, else a free port, see
            `Deployment.metrics_url`.
        metrics_token: What others than you must send to read the metrics, as `Authorization: Bearer TOKEN`. Default:
            DYNAMO_METRICS_TOKEN, else no other user of this machine may read them.
        detach: Keep the deployment running after this process exits. `attach` and `dynamo ps` find it.
        kernels: Run each worker as a Jupyter kernel that can be inspected.
        grace: Seconds for a worker to finish its requests before it is stopped.
        hang: Seconds that a worker's event loop may block before the worker is replaced, 0 for no limit. A cell in the
            worker's kernel blocks it too.
        check: "hold" to hold back a new version of a service for which calls of other services would fail, until these
            services are changed too; "warn" to replace it in any case. The calls are then in `Deployment.notes`.

    Returns:
        A `Pending` of the deployment: await it, or call `.result()`.

    Raises:
        ConfigError: With all faults of the configuration.
        SourceError: With all faults of the code.
        LinkError: A link does not fit, or a given Graph is out of date.
        PlacementError: There are too few GPUs, or a port is taken.
        ConnectError: NATS does not answer.
        StartError: A worker did not become ready.
        ContractError: The cell has served the graph before, and calls between the services would fail now.
        DeploymentError: `check` is neither "hold" nor "warn".

    Example:
        A file, and one value that overrides it::

            deployment = await serve(Frontend, "config.yaml", {"Backend.suffix": "!"})
    """
    frame = sys._getframe(1)
    names = frame.f_globals
    where = f"serve(…), {origin_of(frame)}"
    cls = _entry_of(entry, names, where) if isinstance(entry, Graph) else entry
    entry_name = definition_of(cls).name
    if module := importing.get():
        remedy = 'put it under `if __name__ == "__main__":`'
        raise DeploymentError(f"importing {module} would serve {entry_name} again", where=where, remedy=remedy)
    if check not in get_args(Check):
        raise DeploymentError(f"check={check!r}: not a way to check", where=where, remedy='use "hold" or "warn"')
    notebook = notebook_of(names)
    options = ServeOptions(
        nats=nats,
        nats_credentials=nats_credentials,
        nats_tls=nats_tls,
        worker_host=worker_host,
        secret=secret,
        tls=tls,
        plane=plane,
        http_host=http_host,
        http_port=http_port,
        metrics_host=metrics_host,
        metrics_port=metrics_port,
        metrics_token=metrics_token,
        detach=detach,
        kernels=kernels,
        grace=grace,
        hang=hang,
    )
    source = LiveProgram(
        entry=cls,
        names=names,
        cells=notebook,
        name=name,
        configs=configs,
        namespace=namespace,
        where=where,
        check=check,
    )
    return Pending(lambda: on_portal(lambda: start(source, options, notebook=notebook)))


def _entry_of(graph: Graph, names: Mapping[str, Any], where: str) -> type:
    """The class of the entry. Raises LinkError if the graph is not what the caller's names define now."""
    entry = graph.services[graph.entry].cls
    if Graph.of(entry, names).edges != graph.edges:
        raise LinkError(
            f"the services or links of {graph.entry} have changed since this graph was made",
            where=where,
            remedy=f"make the graph again: serve(Graph.of({entry.__name__}), …)",
        )
    return entry
