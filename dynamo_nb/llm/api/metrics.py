"""What a frontend counts of its requests, in Prometheus' form."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

BUCKETS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)  # seconds
CANCELLED: Final = "499"  # nginx's status of a client that went away
OTHER: Final = ""  # the model of requests that name none which is served: their names are without bound


class RequestMetrics:
    """Counters of one frontend, in a registry of their own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = registry = CollectorRegistry()
        name, of = "dynamo_frontend_", ["model", "endpoint"]
        self.requests = Counter(f"{name}requests", "Requests that were answered", [*of, "status"], registry=registry)
        self.running = Gauge(f"{name}inflight_requests", "Requests being answered", of, registry=registry)
        self.first = Histogram(
            f"{name}time_to_first_token_seconds", "Until the first token", of, buckets=BUCKETS, registry=registry
        )
        self.duration = Histogram(
            f"{name}request_duration_seconds", "Until the last token", of, buckets=BUCKETS, registry=registry
        )
        self.prompt = Counter(f"{name}prompt_tokens", "Tokens of prompts", of, registry=registry)
        self.cached = Counter(f"{name}cached_tokens", "Tokens of prompts found in a cache", of, registry=registry)
        self.output = Counter(f"{name}output_tokens", "Tokens that were generated", of, registry=registry)

    def exposition(self) -> tuple[bytes, str]:
        """What Prometheus reads, and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class Measured:
    """One request, from its beginning. model: set once it is known to be served."""

    def __init__(self, metrics: RequestMetrics, endpoint: str) -> None:
        self._metrics, self._endpoint, self._began = metrics, endpoint, time.perf_counter()
        self._labels: tuple[str, str] = (OTHER, endpoint)
        self._running = self._first = False

    def admitted(self, model: str) -> None:
        self._labels = (model, self._endpoint)
        self._metrics.running.labels(*self._labels).inc()
        self._running = True

    def token(self) -> None:
        """A token is there; only the first one counts."""
        if not self._first:
            self._first = True
            self._metrics.first.labels(*self._labels).observe(time.perf_counter() - self._began)

    def used(self, usage: Mapping[str, Any]) -> None:
        metrics, labels = self._metrics, self._labels
        metrics.prompt.labels(*labels).inc(usage["prompt_tokens"])
        metrics.output.labels(*labels).inc(usage["completion_tokens"])
        metrics.cached.labels(*labels).inc(usage["prompt_tokens_details"]["cached_tokens"])

    def end(self, status: int | str) -> None:
        self._metrics.requests.labels(*self._labels, str(status)).inc()
        if self._running:
            self._metrics.running.labels(*self._labels).dec()
            self._metrics.duration.labels(*self._labels).observe(time.perf_counter() - self._began)
