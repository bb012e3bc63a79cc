"""`serve()`: from a service and its configuration to a running Deployment."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from dynamo_nb.config.layers import Layer
from dynamo_nb.control.options import DRAIN_GRACE, METRICS_HOST, METRICS_PORT
from dynamo_nb.control.start_supervisor import new_options, start_supervisor
from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.deployment.notebook_seam import Notebook, notebook_state
from dynamo_nb.deployment.plan import Config, Recipe, layers_of
from dynamo_nb.errors import ConfigError, DeploymentError, LinkError, Problem
from dynamo_nb.graph.graph import Graph
from dynamo_nb.observe.display import Display
from dynamo_nb.program import Program, live
from dynamo_nb.runtime.connection_settings import Access, Plane
from dynamo_nb.sdk.context import importing
from dynamo_nb.sdk.definition import definition_of
from dynamo_nb.sdk.origin import origin_of
from dynamo_nb.sdk.portal import Pending, on_portal
from dynamo_nb.supervisor.health_check import HANG_LIMIT
from dynamo_nb.supervisor.ports import DEFAULT_HOST, DEFAULT_PORT

_LAST_PORT = 2**16 - 1


def serve(
    entry: type | Graph,
    *configs: Config,
    name: str = "",
    namespace: str | None = None,
    nats: str | None = None,
    nats_credentials: str | Path | None = None,
    nats_tls: str | Path | None = None,
    host: str | None = None,
    secret: str | None = None,
    tls: str | Path | None = None,
    plane: Plane | None = None,
    http_host: str | None = None,
    http_port: int | None = None,
    metrics_host: str | None = None,
    metrics_port: int | None = None,
    detach: bool = False,
    kernels: bool = True,
    grace: float = DRAIN_GRACE,
    hang: float = HANG_LIMIT,
) -> Pending[Deployment]:
    """Serves a graph: `deployment = await serve(Frontend, "config.yaml", {"Backend.suffix": "!"})`.

    entry: the service to begin at, served with the links of the caller's module or notebook; or a Graph of both.
    configs: YAML files and mappings (dotted keys nest), a later one over an earlier one.
    name: of the deployment (default: the entry's). namespace: moves the whole graph there.
    nats: URL of a NATS server with JetStream (default: NATS_SERVER, else one of its own). A deployment calls its own
    workers, whoever else serves the same graph in the same namespace there. Services that `dynamo serve
    --service-name` serves one by one, as pods do, are everybody's in their namespace.
    nats_credentials: a `.creds` file (NATS_CREDS). nats_tls: a folder with its ca.crt (NATS_TLS).
    host: address on which workers accept calls from other machines (default: this machine only).
    secret: what those must know (DYNAMO_SECRET; default: the token in the URL of NATS).
    tls: a folder with ca.crt, tls.crt and tls.key, to encrypt calls between machines (DYNAMO_TLS).
    plane: "nats" where no direct connection can be made (DYNAMO_PLANE; default: "direct").
    http_host, http_port: for HTTP endpoints (default: DYNAMO_HOST, DYNAMO_PORT, else 127.0.0.1:8000, or the next port
    that is free, see `Deployment.warnings`; 0: any free port).
    metrics_host, metrics_port: where Prometheus finds the metrics (default: DYNAMO_METRICS_HOST, DYNAMO_METRICS_PORT,
    else 127.0.0.1 and a free port, which `Deployment.metrics_url` names).
    detach: outlives this process; `attach` or `dynamo ps` finds it again.
    kernels: workers are Jupyter kernels that one can look into.
    grace: seconds that a worker has to finish the requests it holds before it is stopped.
    hang: seconds that a worker's event loop may be blocked, by a cell in its kernel too, before the worker is replaced;
    0: for ever.

    Await it, or call `.result()` where nothing can be awaited. It returns when every worker is ready; on any error
    nothing is left running. Raises ConfigError or SourceError with every fault, LinkError, PlacementError for too few
    GPUs or a port that is taken, ConnectError if NATS does not answer, StartError if a worker does not become ready.
    """
    frame = sys._getframe(1)
    space = frame.f_globals
    where = f"serve(…), {origin_of(frame)}"
    cls = _entry_of(entry, space, where) if isinstance(entry, Graph) else entry
    name_of_entry = definition_of(cls).name
    if module := importing.get():
        remedy = 'put it under `if __name__ == "__main__":`'
        raise DeploymentError(f"importing {module} would serve {name_of_entry} again", where=where, remedy=remedy)
    in_notebook = notebook_state(space)

    def program() -> Program:
        current = space.get(cls.__name__, cls) if in_notebook is not None else cls
        return live(current, space, in_notebook.cells() if in_notebook is not None else None, name)

    def layers() -> list[Layer]:
        return layers_of(configs, where=where)

    access = Access.of(
        nats_url=nats, nats_credentials=nats_credentials, nats_tls=nats_tls, secret=secret, plane=plane, tls=tls
    )
    options = serving_options(
        access,
        host=host,
        http_host=http_host,
        http_port=http_port,
        metrics_host=metrics_host,
        metrics_port=metrics_port,
        kernels=kernels,
        grace=grace,
        hang=hang,
    )
    recipe = Recipe(program, layers, namespace)
    return Pending(lambda: on_portal(lambda: start(recipe, options, detach=detach, notebook=in_notebook)))


def _entry_of(graph: Graph, namespace: Mapping[str, Any], where: str) -> type:
    """The entry's class. Raises LinkError if the caller's namespace makes another graph of it now."""
    entry = graph.services[graph.entry].cls
    if Graph.of(entry, namespace).edges != graph.edges:
        raise LinkError(
            f"the services or links of {graph.entry} have changed since this graph was made",
            where=where,
            remedy=f"make the graph again: serve(Graph.of({entry.__name__}), …)",
        )
    return entry


def serving_options(
    access: Access,
    *,
    host: str | None = None,
    http_host: str | None = None,
    http_port: int | None = None,
    kernels: bool = True,
    grace: float = DRAIN_GRACE,
    hang: float = HANG_LIMIT,
    metrics_host: str | None = None,
    metrics_port: int | None = None,
) -> dict[str, Any]:
    """Options of the supervisor, from what was given or the environment. Raises ConfigError for what is no port."""
    return {
        "access": access,
        "host": host,
        "http_host": http_host or os.environ.get("DYNAMO_HOST") or DEFAULT_HOST,
        "http_port": port_of(http_port, "DYNAMO_PORT", DEFAULT_PORT),
        "http_port_asked": http_port is not None or bool(os.environ.get("DYNAMO_PORT")),
        "metrics_host": metrics_host or os.environ.get("DYNAMO_METRICS_HOST") or METRICS_HOST,
        "metrics_port": port_of(metrics_port, "DYNAMO_METRICS_PORT", METRICS_PORT),
        "kernels": kernels,
        "grace": _seconds("grace", grace),
        "hang": _seconds("hang", hang),
    }


def _seconds(name: str, given: float) -> float:
    if not (isinstance(given, int | float) and 0 <= given < math.inf):
        raise ConfigError([Problem(f"{given!r} is no number of seconds", name)], remedy="give 0 or more")
    return given


def port_of(given: int | None, variable: str, default: int) -> int:
    """A TCP port: the given one, else that of an environment variable. Raises ConfigError if it is none."""
    text = str(given) if given is not None else os.environ.get(variable) or str(default)
    if not text.isdecimal() or int(text) > _LAST_PORT:
        problem = Problem(f"{text} is no port", origin="" if given is not None else variable)
        raise ConfigError([problem], remedy=f"give one from 1 to {_LAST_PORT}, or 0 for a free one")
    return int(text)


async def start(
    recipe: Recipe,
    options: dict[str, Any],
    *,
    detach: bool = False,
    notebook: Notebook | None = None,
    title: str = "script",
    display: Callable[[], Display] | None = None,
) -> Deployment:
    """Begins a deployment: everything that can be checked is checked before the first process.

    A notebook's cell that runs again goes on with the deployment that it made before, or that was attached, and makes
    it what it says now. title: what this process is, where it is no notebook. display: where its progress is shown, if
    not in the notebook.
    """
    plan = recipe.plan()
    if notebook is not None and (standing := notebook.standing(plan.spec.entry)) is not None:
        if standing.served_with in {None, _asked(options, detach)}:
            await standing._become(recipe, plan)
            notebook.continued(standing)
            return standing
        await standing._stop()
    http = any(service.http for service in plan.spec.started.values())
    owned_by = notebook.title if notebook is not None else title
    chosen = new_options(
        plan.spec.name, detach=detach, owned_by=owned_by, http=http, shared=bool(recipe.only), **options
    )
    await start_supervisor(chosen)
    deployment = Deployment(Path(chosen.folder), recipe, notebook)
    if display is not None:
        deployment.display = display
    try:
        await deployment._open()
        # The first call needs a client of NATS: imported while the workers start.
        await asyncio.gather(deployment._apply(plan), asyncio.to_thread(import_module, "nats.aio.client"))
    except BaseException:
        await asyncio.shield(deployment._stop())
        raise
    deployment.served_with = _asked(options, detach)
    if notebook is not None:
        notebook.started(deployment)
    return deployment


def _asked(options: dict[str, Any], detach: bool) -> tuple[Any, ...]:
    return detach, *sorted(options.items())
