"""Where the spans of requests begin and end: those of one that somebody traces, and OpenTelemetry's.

A request that carries the header TRACED leaves spans in this process's own ring (see `spans`), with nothing configured.
In a process where somebody has configured OpenTelemetry every request leaves spans there, through its own API: a call
is a CLIENT span whose `traceparent` travels in the headers, a request that is served a SERVER span below it. A handler
runs in the context of its span, so that spans of its own and further calls are below that. A request that does neither
pays for one comparison with None and one look into its headers, and nothing is imported for it.

Attributes of OpenTelemetry's follow its semantic conventions for RPC spans
(opentelemetry.io/docs/specs/semconv/rpc/rpc-spans).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from dynamo_nb.errors import DeadlineExceeded, DynamoError, EndpointError
from dynamo_nb.runtime.meters import Meter
from dynamo_nb.runtime.spans import SPANS, TRACED, Kind, Span, SpanMeter
from dynamo_nb.sdk.trace import SPAN

FLUSH_TIMEOUT: Final = 2.0  # seconds for a collector to take the last spans: one that is gone must not hold up the end
EXPORTER: Final = "OTEL_TRACES_EXPORTER"
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
CONFIGURATOR: Final = "OTEL_PYTHON_CONFIGURATOR"

logger = logging.getLogger(__name__)


class Traced:
    """The spans of one call, or of one request that is served: one kept here, one of OpenTelemetry's, or both."""

    __slots__ = ("_otel", "kept")

    def __init__(self, kept: Span | None, otel: Any) -> None:
        self.kept, self._otel = kept, otel

    def meter(self, meter: Meter) -> Meter:
        """What counts this request from now on."""
        return meter if self.kept is None else SpanMeter(meter, self.kept)

    def note(self, notes: Mapping[str, Any]) -> None:
        if self.kept is not None:
            self.kept.note(notes)
        if self._otel is not None:
            plain = {
                n: v if isinstance(v, str | int | float) else json.dumps(v, default=repr) for n, v in notes.items()
            }
            self._otel.set_attributes(plain)

    def tried(self, worker: str) -> None:
        """The call is sent to this worker."""
        if self.kept is not None:
            self.kept.tried(worker)

    def failed(self, worker: str, error: str) -> None:
        """It did not answer; error: the code of why."""
        if self.kept is not None:
            self.kept.failed(worker, error)

    def answered(self, error: DynamoError | None = None) -> None:
        """The last of the answer is about to be sent: the caller's span may end before what follows here."""
        if self.kept is not None:
            self.kept.over(error)

    def end(self, error: BaseException | None, stopped: str = "") -> None:
        """stopped: why nobody waited for the answer any more, which is an error only if it was too late."""
        if self.kept is not None and self.kept.end is None:
            self.kept.over(None if stopped else error, stopped)
        if self._otel is not None:
            _end(self._otel, error, stopped)


class Tracing:
    """What this process traces with. tracer: None where nobody has configured tracing."""

    tracer: Any = None

    def configure(self, service: str, worker_id: str) -> None:
        """Configures the SDK as the OTEL_* variables of the environment ask; does nothing if they do not.

        The configurator is the one that `opentelemetry-instrument` uses. What it raises is logged: a service also
        serves untraced.
        """
        environ = os.environ
        if not environ.get(EXPORTER) and any(map(environ.get, ENDPOINTS)):
            environ[EXPORTER] = "otlp"  # the specification's default, which the SDK leaves to distributions
        if environ.get(EXPORTER, "none").strip().lower() == "none" or environ.get("OTEL_SDK_DISABLED") == "true":
            return
        attributes = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        if "service.name=" not in attributes:
            environ.setdefault("OTEL_SERVICE_NAME", service)
        if "service.instance.id=" not in attributes:
            environ["OTEL_RESOURCE_ATTRIBUTES"] = ",".join(
                filter(None, (attributes, f"service.instance.id={worker_id}"))
            )
        from importlib.metadata import entry_points

        name = environ.get(CONFIGURATOR)
        found = [one for one in entry_points(group="opentelemetry_configurator") if name in {None, one.name}]
        if not found:
            logger.warning("%s is set, but there is no SDK: pip install 'dynamo-nb[otel]'", EXPORTER)
            return
        try:
            found[0].load()().configure()
        except Exception:
            logger.exception("OpenTelemetry could not be configured; nothing is traced")
        self.notice()

    def notice(self) -> None:
        """Uses the provider of spans that somebody has configured by now."""
        if self.tracer is not None or "opentelemetry.trace" not in sys.modules:
            return
        from opentelemetry import trace

        provider = trace.get_tracer_provider()
        if not isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
            self.tracer = provider.get_tracer("dynamo_nb")

    def call(self, path: str, headers: Mapping[str, str], begun: float) -> tuple[Traced, Mapping[str, str]]:
        """Begins the spans of a call; gives them, and the headers that carry them on. begun: as the meter gave it."""
        kept, otel = _kept(path, "client", headers, begun), None
        if kept is not None:
            headers = {**headers, TRACED: kept.header}
        if self.tracer is not None:
            otel, headers = self._call(path, headers)
        return Traced(kept, otel), headers

    def serve(self, path: str, headers: Mapping[str, str], request_id: str, begun: float) -> Traced:
        """Begins the spans of a request that is served, for the task that serves it: its context becomes theirs."""
        kept, otel = _kept(path, "server", headers, begun), None
        if self.tracer is not None:
            otel = self._serve(path, headers, request_id)
        traced = Traced(kept, otel)
        SPAN.set(traced)
        return traced

    def _call(self, path: str, headers: Mapping[str, str]) -> tuple[Any, dict[str, str]]:
        from opentelemetry import propagate, trace

        parent = None if trace.get_current_span().get_span_context().is_valid else propagate.extract(headers)
        method, component = _names(path)
        span = self.tracer.start_span(
            method,
            parent,
            kind=trace.SpanKind.CLIENT,
            attributes={"rpc.system.name": "dynamo", "rpc.method": method, "server.address": component},
        )
        carried = dict(headers)
        propagate.inject(carried, trace.set_span_in_context(span, parent))
        return span, carried

    def _serve(self, path: str, headers: Mapping[str, str], request_id: str) -> Any:
        from opentelemetry import context, propagate, trace

        parent = propagate.extract(headers, context.Context())
        method, _ = _names(path)
        span = self.tracer.start_span(
            method,
            parent,
            kind=trace.SpanKind.SERVER,
            attributes={
                "rpc.system.name": "dynamo",
                "rpc.method": method,
                "rpc.request.metadata.request-id": [request_id],
            },
        )
        context.attach(trace.set_span_in_context(span, parent))  # never detached: the task ends with it
        return span

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Calls made inside begin traces of their own."""
        span = SPAN.set(None)
        try:
            if self.tracer is None:
                yield
                return
            from opentelemetry import context

            token = context.attach(context.Context())
            try:
                yield
            finally:
                context.detach(token)
        finally:
            SPAN.reset(span)

    async def flush(self) -> None:
        """Sends what was not sent yet, and ends the tracing of this process."""
        if self.tracer is None:
            return
        from opentelemetry import trace

        shutdown = getattr(trace.get_tracer_provider(), "shutdown", None)
        self.tracer = None
        if shutdown is None:
            return
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut() -> None:
            try:
                shutdown()
            finally:
                with suppress(RuntimeError):  # the loop did not wait for so long
                    loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut, name="dynamo-flush", daemon=True).start()  # which a process's end does not join
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT):
                await done.wait()


def _kept(path: str, kind: Kind, headers: Mapping[str, str], begun: float) -> Span | None:
    if TRACED not in headers:
        return None
    span = Span(path, kind, headers[TRACED], begun)
    SPANS.add(span)
    return span


def _end(span: Any, error: BaseException | None, stopped: str = "") -> None:
    from opentelemetry.trace import Status, StatusCode

    if stopped:
        span.set_attribute("rpc.response.status_code", stopped)
        if stopped == DeadlineExceeded.code:
            span.set_attribute("error.type", stopped)
            span.set_status(Status(StatusCode.ERROR, "the request had no more time"))
    elif error is not None:
        kind = error.kind if isinstance(error, EndpointError) else type(error).__qualname__
        code = error.code if isinstance(error, DynamoError) else DynamoError.code
        what = error.what if isinstance(error, DynamoError) else str(error)
        trace = getattr(error, "traceback", "")
        span.set_attribute("rpc.response.status_code", code)
        span.set_attribute("error.type", kind if isinstance(error, EndpointError) else code)
        # By hand, for the traceback is the remote one with the user's lines, where `record_exception` sees ours.
        said = {"exception.type": kind, "exception.message": what, "exception.stacktrace": trace}
        span.add_event("exception", {name: text for name, text in said.items() if text})
        span.set_status(Status(StatusCode.ERROR, what))
    span.end()


def _names(path: str) -> tuple[str, str]:
    """The method, `namespace.component/endpoint`, and the component, of a path."""
    component, _, endpoint = path.rpartition("/")
    component = component.replace("/", ".")
    return f"{component}/{endpoint}", component


TRACING: Final = Tracing()
