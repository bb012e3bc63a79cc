"""The card of a service in a graph widget: its endpoints, workers, configuration and errors, as plain data."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Final

from dynamo_nb.control.events import ServiceError
from dynamo_nb.control.log_lines import LogLine
from dynamo_nb.control.logs import LogTail
from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.errors import DynamoError
from dynamo_nb.graph.graph import Graph
from dynamo_nb.notebook.graph_widget import figures_of
from dynamo_nb.observe.event_table import origin_of
from dynamo_nb.observe.example import example
from dynamo_nb.observe.log_reader import rows_of
from dynamo_nb.observe.route import Route
from dynamo_nb.observe.traffic import Load, Traffic
from dynamo_nb.sdk.definition import ServiceDefinition
from dynamo_nb.sdk.endpoint import Endpoint

LOG_LINES: Final = 12
"""Number of last lines of a worker's log that are shown at the worker."""
ALL_LINES: Final = 200
"""Number of last lines of all workers together."""


def service_card(
    name: str,
    graph: Graph,
    deployment: Deployment | None,
    traffic: Traffic,
    routes: Sequence[Route] = (),
    requests: Sequence[LogLine] = (),
    errors: Sequence[ServiceError] = (),
) -> dict[str, Any]:
    """Returns the content of a card.

    Args:
        name: The service.
        graph: The graph, of the deployment if there is one.
        deployment: The deployment of the graph, if it is served.
        traffic: Last measured traffic.
        routes: HTTP routes of the service.
        requests: The latest requests over HTTP, if the access log is on.
        errors: Last errors of the service.

    Returns:
        `service`, `rows` (label and text), `endpoints` with schema and example, and `links` (`in` and `out`, each with
        the other service and whether the link is active). With a deployment also `config` (key, value and origin),
        the number of `desired` workers, `workers`, the last lines of their `log` (time, worker, level and text), the
        `routes` with example request, load and statuses, and the `errors`.
    """
    definition = graph.services.get(name)
    if definition is None:
        return {"service": name, "rows": [["interface", "no service is linked"]]}
    card: dict[str, Any] = {
        "service": name,
        "rows": list(_rows(definition, graph)),
        "endpoints": [_endpoint(e) for e in definition.endpoints.values() if e.served],
        "links": {
            "out": [[e.target, e.active] for e in graph.edges if e.source == name],
            "in": [[e.source, e.active] for e in graph.edges if e.target == name],
        },
    }
    service = deployment.status.services.get(name) if deployment is not None else None
    if deployment is None or service is None or not service.started:
        return card
    if name in deployment.urls:
        card["rows"].append(["url", deployment.urls[name]])
    lines = _log_lines(deployment, name, max(LOG_LINES, ALL_LINES // max(len(service.workers), 1)))
    logs = {
        f"{name}[{w.index}]": [line.text for line in lines if line.worker == f"{name}[{w.index}]"]
        for w in service.workers
    }
    merged = sorted([*lines, *requests], key=lambda line: line.at or 0.0)[-ALL_LINES:]
    return {
        **card,
        "routes": [_route(route, traffic) for route in routes],
        "log": list(rows_of(merged)),
        "config": [
            [path.removeprefix(f"{name}."), str(value), str(origin)]
            for path, value, origin in deployment.config.rows()
            if path.startswith(f"{name}.")
        ],
        "desired": service.desired,
        "workers": [
            {
                "index": worker.index,
                "id": worker.id,
                "state": worker.state,
                "pid": worker.pid,
                "started": worker.started,
                "gpus": ", ".join(worker.gpus),
                "memory": traffic.memory.get(worker.id),
                "cpu": traffic.cpu.get(worker.id),
                "restarts": worker.restarts,
                "log": logs[f"{name}[{worker.index}]"][-LOG_LINES:],
            }
            for worker in service.workers
        ],
        "errors": [
            {
                "id": error.id,
                "endpoint": error.endpoint,
                "kind": error.kind,
                "message": error.message,
                "origin": origin_of(error),
                "count": error.count,
                "last": error.last,
                "traceback": error.traceback,
            }
            for error in errors
        ],
    }


def _rows(definition: ServiceDefinition, graph: Graph) -> Iterator[list[str]]:
    yield ["namespace", definition.namespace]
    resources = definition.args.get("resources") or {}
    if requested := ", ".join(f"{value} {kind}" for kind, value in resources.items() if value):
        yield ["resources", requested]
    yield ["defined in", definition.where]
    if definition.name not in graph.running:
        yield ["started", "no: no active link leads to it"]
    elif not definition.enabled:
        yield ["started", "in the process of each service that depends on it"]


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": endpoint.attribute,
        "doc": inspect.cleandoc(endpoint.function.__doc__ or ""),
        "stream": endpoint.stream,
    }
    try:
        schema = endpoint.schema()
    except DynamoError as error:  # an annotation that cannot be resolved yet
        return {**described, "doc": str(error), "input": {"type": "object"}, "output": {}, "example": "{}"}
    from pydantic_core import to_json

    _add_defaults(endpoint, schema["input"]["properties"])
    return {**described, **schema, "example": to_json(example(schema["input"]), indent=2).decode()}


def _log_lines(deployment: Deployment, service: str, lines: int) -> list[LogLine]:
    """The last lines of the log of each worker."""
    with closing(LogTail(deployment.folder / "logs", service, lines)) as tail:
        return list(tail.read_lines())


def _route(route: Route, traffic: Traffic) -> dict[str, Any]:
    load = traffic.routes.get((route.service, route.name), Load())
    return {
        "method": route.method,
        "path": route.path,
        "doc": route.doc,
        "url": route.url if route.method == "GET" else "",
        "curl": route.curl,
        "docs": route.docs,
        "load": figures_of(load),
        "statuses": dict(sorted(load.statuses.items())),
    }


def _add_defaults(endpoint: Endpoint, properties: dict[str, Any]) -> None:
    """Adds the defaults of parameters to their schemas: as `default`, or as text in `x-default` if JSON cannot."""
    from pydantic_core import to_jsonable_python

    for name, parameter in endpoint.signature.parameters.items():
        if parameter.default is not parameter.empty:
            try:
                properties[name] = {**properties[name], "default": to_jsonable_python(parameter.default)}
            except ValueError:
                properties[name] = {**properties[name], "x-default": repr(parameter.default)}
