"""The metrics of a deployment in the format of Prometheus, with `prometheus_client`, which is slow to import."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

IDLE_LIMIT: Final = 10.0
"""Seconds after which an idle connection is closed, so that it does not keep a thread for ever."""


class DeploymentCollector(Collector):
    """Collects metrics for `prometheus_client`.

    Args:
        read: returns what `Metrics.read` returns; called from the server's threads.
    """

    def __init__(self, read: Callable[[], dict[str, Any]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        numbers = self._read()
        yield from _workers(numbers["services"])
        served = [
            ([service, endpoint, worker], reading)
            for service, known in numbers["services"].items()
            for worker, endpoints in known["workers"].items()
            for endpoint, reading in endpoints.items()
        ]
        yield from _requests("dynamo_", "requests served by a worker", ["service", "endpoint", "worker"], served)
        called = [([edge["source"], edge["target"], edge["endpoint"]], edge) for edge in numbers["edges"]]
        yield from _requests("dynamo_edge_", "requests made by a service", ["source", "target", "endpoint"], called)


def _workers(services: dict[str, Any]) -> Iterator[Metric]:
    ready = GaugeMetricFamily("dynamo_workers_ready", "Workers that take requests.", labels=["service"])
    desired = GaugeMetricFamily("dynamo_workers_desired", "Workers that the service should have.", labels=["service"])
    restarts = GaugeMetricFamily(
        "dynamo_worker_restarts",
        "Restarts of the worker since the deployment began.",
        labels=["service", "worker"],
    )
    for name, service in services.items():
        ready.add_metric([name], service["ready"])
        desired.add_metric([name], service["desired"])
        for worker, count in service["restarts"].items():
            restarts.add_metric([name, worker], count)
    yield from (ready, desired, restarts)


def _requests(
    prefix: str, subject: str, labels: list[str], readings: list[tuple[list[str], dict[str, Any]]]
) -> Iterator[Metric]:
    """The metrics of requests. subject: such as `requests served by a worker`."""

    def counter(name: str, text: str, *more: str) -> CounterMetricFamily:
        return CounterMetricFamily(prefix + name, text, labels=[*labels, *more])

    def histogram(name: str, text: str) -> HistogramMetricFamily:
        return HistogramMetricFamily(prefix + name, text, labels=labels)

    requests = counter("requests", f"Number of {subject}, counted at their start.")
    errors = counter("errors", f"Number of {subject} that ended with an error, by its code.", "code")
    stopped = counter("stopped", f"Number of {subject} whose caller cancelled or went away, by reason.", "reason")
    items = counter("items", f"Items of the streamed answers to {subject}.")
    size = counter("bytes", f"Bytes of the frames of {subject}.", "direction")
    in_flight = GaugeMetricFamily(f"{prefix}requests_in_flight", f"Number of unfinished {subject}.", labels=labels)
    seconds = histogram("request_seconds", f"Time to the complete answer, errors included, of {subject}.")
    first = histogram("first_item_seconds", f"Time to the first item of the streamed answers to {subject}.")
    for values, reading in readings:
        requests.add_metric(values, reading["requests"])
        in_flight.add_metric(values, reading["in_flight"])
        items.add_metric(values, reading["items"])
        for code, count in reading["errors"].items():
            errors.add_metric([*values, code], count)
        for reason, count in reading["stopped"].items():
            stopped.add_metric([*values, reason], count)
        for direction, count in reading["bytes"].items():
            size.add_metric([*values, direction], count)
        for family, name in ((seconds, "seconds"), (first, "first_item_seconds")):
            if reading[name]["count"] or family is seconds:  # not every endpoint streams
                family.add_metric(values, list(reading[name]["buckets"].items()), reading[name]["sum"])
    yield from (requests, errors, stopped, items, size, in_flight, seconds, first)


class _Handler(WSGIRequestHandler):
    timeout = IDLE_LIMIT

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: a line for each scrape would fill the supervisor's log."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a scrape in progress does not delay the end


def serve_page(listening: socket.socket, read: Callable[[], dict[str, Any]]) -> None:
    """Serves the metrics page until the process ends.

    Args:
        listening: socket that accepts connections.
        read: see `DeploymentCollector`.
    """
    host, port = listening.getsockname()[:2]
    server = _Server((host, port), _Handler, bind_and_activate=False)
    server.socket.close()
    listening.setblocking(True)
    server.socket = listening
    server.server_name, server.server_port = host, port
    server.setup_environ()
    registry = CollectorRegistry()
    registry.register(DeploymentCollector(read))
    server.set_app(make_wsgi_app(registry))
    server.serve_forever()
