"""The metrics of a deployment in the format of Prometheus, with `prometheus_client`, which is slow to import."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector


class DeploymentCollector(Collector):
    """Collects metrics for `prometheus_client`.

    Args:
        read: returns what `Metrics.read` returns.
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
        yield _answers(numbers["services"])


def _answers(services: dict[str, Any]) -> Metric:
    answers = CounterMetricFamily(
        "dynamo_http_answers",
        "Number of answers over HTTP, by route and by class of their status.",
        labels=["service", "route", "worker", "status"],
    )
    for name, service in services.items():
        for worker, routes in service["routes"].items():
            for route, reading in routes.items():
                for status, count in reading["statuses"].items():
                    answers.add_metric([name, route, worker, status], count)
    return answers


def _workers(services: dict[str, Any]) -> Iterator[Metric]:
    labels = ["service", "worker"]
    ready = GaugeMetricFamily("dynamo_workers_ready", "Workers that take requests.", labels=["service"])
    desired = GaugeMetricFamily("dynamo_workers_desired", "Workers that the service should have.", labels=["service"])
    restarts = GaugeMetricFamily(
        "dynamo_worker_restarts",
        "Restarts of the worker since the deployment began.",
        labels=labels,
    )
    for name, service in services.items():
        ready.add_metric([name], service["ready"])
        desired.add_metric([name], service["desired"])
        for worker, count in service["restarts"].items():
            restarts.add_metric([name, worker], count)
    memory = GaugeMetricFamily("dynamo_worker_memory_bytes", "Resident memory of the worker.", labels=labels)
    cpu = CounterMetricFamily(
        "dynamo_worker_cpu_seconds",
        "Seconds of CPU that the worker has used; a rate of 1 is one core.",
        labels=labels,
    )
    for name, service in services.items():
        for worker, usage in service["usage"].items():
            if usage["memory"]:
                memory.add_metric([name, worker], usage["memory"])
                cpu.add_metric([name, worker], usage["cpu_seconds"])
    yield from (ready, desired, restarts, memory, cpu)


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


def page(numbers: dict[str, Any], accept: str) -> tuple[bytes, str]:
    """The metrics page and its media type.

    Args:
        numbers: what `Metrics.read` returns.
        accept: the media types that the reader accepts, as in its header.
    """
    registry = CollectorRegistry()
    registry.register(DeploymentCollector(lambda: numbers))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type
