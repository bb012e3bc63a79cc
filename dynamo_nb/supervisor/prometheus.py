"""The numbers of a deployment as a page for Prometheus, from `prometheus_client`, which takes a while to import."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

SILENCE: Final = 10.0
"""Seconds after which a connection that says nothing is closed, so that it holds no thread for ever."""


class DeploymentCollector(Collector):
    """numbers: asks for what `Metrics.numbers` gives; from the server's threads."""

    def __init__(self, numbers: Callable[[], dict[str, Any]]) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        numbers = self._numbers()
        yield from _workers(numbers["services"])
        served = [
            ([service, endpoint, worker], reading)
            for service, known in numbers["services"].items()
            for worker, endpoints in known["workers"].items()
            for endpoint, reading in endpoints.items()
        ]
        yield from _requests("dynamo_", "that a worker serves", ["service", "endpoint", "worker"], served)
        called = [([edge["source"], edge["target"], edge["endpoint"]], edge) for edge in numbers["edges"]]
        yield from _requests("dynamo_edge_", "that a service makes", ["source", "target", "endpoint"], called)


def _workers(services: dict[str, Any]) -> Iterator[Metric]:
    ready = GaugeMetricFamily("dynamo_workers_ready", "Workers that serve.", labels=["service"])
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
    prefix: str, whose: str, labels: list[str], readings: list[tuple[list[str], dict[str, Any]]]
) -> Iterator[Metric]:
    def counter(name: str, what: str, *more: str) -> CounterMetricFamily:
        return CounterMetricFamily(prefix + name, f"{what} {whose}.", labels=[*labels, *more])

    def histogram(name: str, what: str) -> HistogramMetricFamily:
        return HistogramMetricFamily(prefix + name, f"{what} {whose}.", labels=labels)

    requests = counter("requests", "Requests, counted when they begin,")
    errors = counter("errors", "Requests that ended with an error, by its code,", "code")
    stopped = counter("stopped", "Requests for whose answer nobody waited any more", "reason")
    items = counter("items", "Items of streams of requests")
    size = counter("bytes", "Bytes of the frames of requests", "direction")
    in_flight = GaugeMetricFamily(f"{prefix}requests_in_flight", f"Requests not yet ended {whose}.", labels=labels)
    seconds = histogram("request_seconds", "Time to the whole answer of requests, errors included,")
    first = histogram("first_item_seconds", "Time to the first item of streams of requests")
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
    timeout = SILENCE

    def log_message(self, format: str, *args: Any) -> None:
        """A line for each scrape would be all that the supervisor's log is of."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a scrape under way does not hold up the end


def serve_page(page: socket.socket, numbers: Callable[[], dict[str, Any]]) -> None:
    """Answers on a socket that listens, until the process ends."""
    host, port = page.getsockname()[:2]
    server = _Server((host, port), _Handler, bind_and_activate=False)
    server.socket.close()
    page.setblocking(True)
    server.socket = page
    server.server_name, server.server_port = host, port
    server.setup_environ()
    registry = CollectorRegistry()
    registry.register(DeploymentCollector(numbers))
    server.set_app(make_wsgi_app(registry))
    server.serve_forever()
