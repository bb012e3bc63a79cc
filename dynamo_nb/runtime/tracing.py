"""Tracing of requests: where spans start and end, both this package's own and OpenTelemetry's.

A request with the header TRACED leaves spans in the ring buffer of each process (see `spans`), without any
configuration. In a process where OpenTelemetry is configured, every request leaves spans there, through its own API: a
call is a CLIENT span whose `traceparent` is sent in the headers, a served request is a SERVER span below it. A handler
runs in the context of its span, so that spans and calls of the handler are below that. A request without either costs
one comparison with None and one look-up in its headers, and imports nothing.

Attributes of OpenTelemetry's spans follow its semantic conventions for RPC spans
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

from dynamo_nb.errors import DeadlineExceeded, DynamoError, EndpointError, message_of
from dynamo_nb.runtime.meters import Meter
from dynamo_nb.runtime.spans import SPANS, TRACED, Kind, Span, SpanMeter, parts_of
from dynamo_nb.sdk.trace import SPAN

FLUSH_TIMEOUT: Final = 2.0  # seconds for a collector to accept the last spans: without one a process must still end
EXPORTER: Final = "OTEL_TRACES_EXPORTER"
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
CONFIGURATOR: Final = "OTEL_PYTHON_CONFIGURATOR"

logger = logging.getLogger(__name__)


class RequestSpans:
    """The spans of one call or one served request: this package's own, OpenTelemetry's, or both.

    Attributes:
        span: The own span, or None.
    """

    __slots__ = ("_otel", "span")

    def __init__(self, span: Span | None, otel: Any) -> None:
        self.span, self._otel = span, otel

    def meter(self, meter: Meter) -> Meter:
        """Returns the meter that counts this request from now on."""
        return meter if self.span is None else SpanMeter(meter, self.span)

    def note(self, notes: Mapping[str, Any]) -> None:
        """Adds notes of the handler."""
        if self.span is not None:
            self.span.note(notes)
        if self._otel is not None:
            plain = {
                n: v if isinstance(v, str | int | float) else json.dumps(v, default=repr) for n, v in notes.items()
            }
            self._otel.set_attributes(plain)

    def attempt(self, worker: str) -> None:
        """Records that the call is sent to a worker."""
        if self.span is not None:
            self.span.attempt(worker)

    def attempt_failed(self, worker: str, error: str) -> None:
        """Records that a worker did not answer. error: the code of an error."""
        if self.span is not None:
            self.span.attempt_failed(worker, error)

    def answered(self, error: DynamoError | None = None) -> None:
        """Records that the end of the answer is sent next: the caller's span may end before the next statement."""
        if self.span is not None:
            self.span.finish(error)

    def end(self, error: BaseException | None, stopped: str = "") -> None:
        """Ends the spans.

        Args:
            error: The error that ended the request, or None.
            stopped: Reason why the answer is no longer needed, or empty. An error only if the deadline has passed.
        """
        if self.span is not None and self.span.end is None:
            self.span.finish(None if stopped else error, stopped)
        if self._otel is not None:
            _end(self._otel, error, stopped)


class Tracing:
    """The tracing of this process.

    Attributes:
        tracer: OpenTelemetry's tracer, or None if OpenTelemetry is not configured.
    """

    tracer: Any = None

    def configure(self, service: str, worker_id: str) -> None:
        """Configures OpenTelemetry's SDK from the OTEL_* variables of the environment, if there are any.

        Uses the same configurator as `opentelemetry-instrument`. Its errors are logged: a service also serves without
        tracing.
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
        self.detect()

    def detect(self) -> None:
        """Uses OpenTelemetry's tracer provider, if the user's code has configured one by now."""
        if self.tracer is not None or "opentelemetry.trace" not in sys.modules:
            return
        from opentelemetry import trace

        provider = trace.get_tracer_provider()
        if not isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
            self.tracer = provider.get_tracer("dynamo_nb")

    def call(self, path: str, headers: Mapping[str, str], start: float) -> tuple[RequestSpans, Mapping[str, str]]:
        """Starts the spans of a call. start: what `Meter.begin` returned.

        Returns:
            The spans, and the headers to send with the call.
        """
        span, otel = _own_span(path, "client", headers, start), None
        if span is not None:
            headers = {**headers, TRACED: span.header}
        if self.tracer is not None:
            otel, headers = self._call(path, headers)
        return RequestSpans(span, otel), headers

    def below_current(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """The headers with OpenTelemetry's current span as parent, such as one of an instrumented web application."""
        if self.tracer is None:
            return headers
        from opentelemetry import propagate, trace

        carried = dict(headers)
        if trace.get_current_span().get_span_context().is_valid:
            propagate.inject(carried)
        return carried

    def arrived(self, path: str, headers: Mapping[str, str], start: float) -> RequestSpans:
        """Starts the span of a request over HTTP before its route is called. `serve` may continue it.

        Args:
            path: `namespace/component/METHOD /path`.
            headers: Headers of the request.
            start: Time of the request's arrival, by `time.perf_counter`.
        """
        spans = RequestSpans(_own_span(path, "server", headers, start), None)
        SPAN.set(spans)
        return spans

    def serve(
        self, path: str, headers: Mapping[str, str], request_id: str, start: float, begun: RequestSpans | None = None
    ) -> RequestSpans:
        """Starts the spans of a served request, in the context of the task that serves it.

        Args:
            path: `namespace/component/endpoint`.
            headers: Headers of the request.
            request_id: Id of the request.
            start: The result of `Meter.begin`.
            begun: The spans of this request from `arrived`, to be continued as the spans of the endpoint; or None.
        """
        span, otel = begun.span if begun is not None else None, None
        if span is None:
            span = _own_span(path, "server", headers, start)
        else:
            span.path = path
        if self.tracer is not None:
            otel = self._serve(path, headers, request_id)
        spans = RequestSpans(span, otel)
        SPAN.set(spans)
        return spans

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
    def detached(self) -> Iterator[None]:
        """Makes calls inside start traces of their own."""
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
        """Sends the remaining spans, and ends the tracing of this process."""
        if self.tracer is None:
            return
        from opentelemetry import trace

        shutdown = getattr(trace.get_tracer_provider(), "shutdown", None)
        self.tracer = None
        if shutdown is None:
            return
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            try:
                shutdown()
            finally:
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(done.set)

        # A daemon: the end of the process must not wait for it.
        threading.Thread(target=shut_down, name="dynamo-flush", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT):
                await done.wait()


def _own_span(path: str, kind: Kind, headers: Mapping[str, str], start: float) -> Span | None:
    if TRACED not in headers:
        return None
    span = Span(path, kind, headers[TRACED], start)
    SPANS.add(span)
    return span


def _end(span: Any, error: BaseException | None, stopped: str = "") -> None:
    from opentelemetry.trace import Status, StatusCode

    if stopped:
        span.set_attribute("rpc.response.status_code", stopped)
        if stopped == DeadlineExceeded.code:
            span.set_attribute("error.type", stopped)
            span.set_status(Status(StatusCode.ERROR, "the deadline of the request has passed"))
    elif error is not None:
        kind = error.kind if isinstance(error, EndpointError) else type(error).__qualname__
        code = error.code if isinstance(error, DynamoError) else DynamoError.code
        what = error.what if isinstance(error, DynamoError) else message_of(error)
        trace = getattr(error, "traceback", "")
        span.set_attribute("rpc.response.status_code", code)
        span.set_attribute("error.type", kind if isinstance(error, EndpointError) else code)
        # Not `record_exception`: it would show this package's lines, and the traceback here is the worker's with the
        # user's lines.
        exception = {"exception.type": kind, "exception.message": what, "exception.stacktrace": trace}
        span.add_event("exception", {name: text for name, text in exception.items() if text})
        span.set_status(Status(StatusCode.ERROR, what))
    span.end()


def _names(path: str) -> tuple[str, str]:
    """The method, `namespace.component/endpoint`, and the component, of a path."""
    component, endpoint = parts_of(path)
    component = component.replace("/", ".")
    return f"{component}/{endpoint}", component


TRACING: Final = Tracing()
"""The tracing of this process."""
