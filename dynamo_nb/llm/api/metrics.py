"""Metrics of a frontend's requests, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

BUCKETS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)  # seconds
CANCELLED: Final = "499"  # nginx's status for a client that closed the connection
UNKNOWN_MODEL: Final = ""  # the label of requests that name no served model; their names would be unlimited


class RequestMetrics:
    """The counters of one frontend, in a registry of their own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = registry = CollectorRegistry()
        prefix, labels = "dynamo_frontend_", ["model", "endpoint"]
        self.requests = Counter(f"{prefix}requests", "Finished requests", [*labels, "status"], registry=registry)
        self.running = Gauge(f"{prefix}inflight_requests", "Requests in progress", labels, registry=registry)
        self.first = Histogram(
            f"{prefix}time_to_first_token_seconds",
            "Time from the request to the first token",
            labels,
            buckets=BUCKETS,
            registry=registry,
        )
        self.duration = Histogram(
            f"{prefix}request_duration_seconds",
            "Time from the request to the end of the answer",
            labels,
            buckets=BUCKETS,
            registry=registry,
        )
        self.prompt = Counter(f"{prefix}prompt_tokens", "Tokens of prompts", labels, registry=registry)
        self.cached = Counter(
            f"{prefix}cached_tokens", "Tokens of prompts that were in a KV cache", labels, registry=registry
        )
        self.output = Counter(f"{prefix}output_tokens", "Generated tokens", labels, registry=registry)

    def prometheus(self) -> tuple[bytes, str]:
        """Returns the metrics in Prometheus' text format, and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class RequestTimer:
    """Measures one request, from its beginning.

    Args:
        metrics: Receives the values.
        endpoint: The endpoint, as a label.
    """

    def __init__(self, metrics: RequestMetrics, endpoint: str) -> None:
        self._metrics, self._endpoint, self._began = metrics, endpoint, time.perf_counter()
        self._labels: tuple[str, str] = (UNKNOWN_MODEL, endpoint)
        self._running = self._has_first = False

    def admitted(self, model: str) -> None:
        """Counts the request as running, with the name of its model."""
        self._labels = (model, self._endpoint)
        self._metrics.running.labels(*self._labels).inc()
        self._running = True

    def token(self) -> None:
        """Records the time of the first token; later calls do nothing."""
        if not self._has_first:
            self._has_first = True
            self._metrics.first.labels(*self._labels).observe(time.perf_counter() - self._began)

    def count(self, usage: Mapping[str, Any]) -> None:
        """Counts tokens. usage: in the form of OpenAI's API."""
        metrics, labels = self._metrics, self._labels
        metrics.prompt.labels(*labels).inc(usage["prompt_tokens"])
        metrics.output.labels(*labels).inc(usage["completion_tokens"])
        metrics.cached.labels(*labels).inc(usage["prompt_tokens_details"]["cached_tokens"])

    def end(self, status: int | str) -> None:
        """Counts the request as finished."""
        self._metrics.requests.labels(*self._labels, str(status)).inc()
        if self._running:
            self._metrics.running.labels(*self._labels).dec()
            self._metrics.duration.labels(*self._labels).observe(time.perf_counter() - self._began)
