"""The card of a service in a graph widget: its endpoints, its workers and its configuration, as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from dynamo_nb.control.logs import LogTail
from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.errors import DynamoError
from dynamo_nb.graph.graph import Graph
from dynamo_nb.observe.example import example
from dynamo_nb.observe.traffic import Traffic
from dynamo_nb.sdk.definition import ServiceDefinition
from dynamo_nb.sdk.endpoint import Endpoint

LOG_LINES: Final = 12
"""Last lines of each worker's log."""


def service_card(name: str, graph: Graph, deployment: Deployment | None, traffic: Traffic) -> dict[str, Any]:
    """Returns the content of a card.

    Args:
        name: The service.
        graph: The graph, of the deployment if there is one.
        deployment: The deployment of the graph, if it is served.
        traffic: Last measured traffic.

    Returns:
        `service`, `rows` (label and text), `endpoints` with schema and example, and `links` (`in` and `out`, each with
        the other service and whether the link is active). With a deployment also `config` (key, value and origin),
        the number of `desired` workers, and `workers`.
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
    logs = _logs(deployment, name)
    return {
        **card,
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
                "log": logs.get(str(worker.index), []),
            }
            for worker in service.workers
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
        "doc": (endpoint.function.__doc__ or "").strip(),
        "stream": endpoint.stream,
    }
    try:
        schema = endpoint.schema()
    except DynamoError as error:  # an annotation that cannot be resolved yet
        return {**described, "doc": str(error), "input": {"type": "object"}, "output": {}, "example": "{}"}
    from pydantic_core import to_json

    return {**described, **schema, "example": to_json(example(schema["input"]), indent=2).decode()}


def _logs(deployment: Deployment, service: str) -> dict[str, list[str]]:
    """The last lines of each worker's log, by its index."""
    found: dict[str, list[str]] = {}
    with closing(LogTail(deployment.folder / "logs", service, LOG_LINES)) as tail:
        for line in tail.read():
            worker, _, text = line.partition("]: ")
            found.setdefault(worker.rpartition("[")[2], []).append(text)
    return found
