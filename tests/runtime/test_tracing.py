"""Spans as a collector receives them. A small collector of OpenTelemetry's protocol runs in this process."""

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from dynamo_nb.errors import DeadlineExceeded, EndpointError
from dynamo_nb.runtime import call_context, request_scope

pytestmark = pytest.mark.slow

CLIENT, SERVER, OWN = 3, 2, 1
ERROR = 2
TRACE, PARENT = "a" * 32, "b" * 16
SOON = 0.1
PROGRAM = """
import asyncio
import sys

from opentelemetry import trace

from dynamo_nb import depends, dynamo_api, dynamo_endpoint, service
from dynamo_nb.runtime import no_request, request_scope


@service
class Backend:
    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        if text == "fail":
            raise ValueError("I cannot say this")
        if text == "wait":
            await asyncio.Event().wait()
        return text

    @dynamo_endpoint()
    async def words(self, text: str):
        for word in text.split():
            yield word


@service
class Middle:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        with trace.get_tracer("mine").start_as_current_span("think"):
            return await self.backend.say(text)

    @dynamo_endpoint()
    async def words(self, text: str):
        async for word in self.backend.words(text):
            yield word

    @dynamo_endpoint()
    async def hurry(self, text: str) -> str:
        with request_scope(timeout=0.1):
            return await self.backend.say(text)

    @dynamo_endpoint()
    async def first(self, text: str) -> str:
        async for word in self.backend.words(text):
            return word

    @dynamo_endpoint()
    async def alone(self, text: str) -> str:
        with no_request():
            return await self.backend.say(text)


@service
class Frontend:
    middle = depends(Middle)

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return await self.middle.say(text)

    @dynamo_endpoint()
    async def words(self, text: str):
        async for word in self.middle.words(text):
            yield word

    @dynamo_endpoint()
    async def alone(self, text: str) -> str:
        return await self.middle.alone(text)

    @dynamo_api()
    async def page(self, text: str) -> str:
        return await self.middle.say(text)

    @dynamo_endpoint()
    async def imported(self) -> list[str]:
        return [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
"""

NOTEBOOK = """
import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from program import Frontend

from dynamo_nb import serve

with serve(Frontend, http_port=0, kernels=False).result() as deployment:
    deployment.Frontend.say("before").result()
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    with trace.get_tracer("mine").start_as_current_span("a cell") as span:
        deployment.Frontend.say("x").result()
    call, cell = spans.get_finished_spans()
    assert call.parent.span_id == cell.context.span_id
    print(trace.format_trace_id(cell.context.trace_id), trace.format_span_id(call.context.span_id), call.name)
"""

STUCK = """
import asyncio
import threading

from opentelemetry import trace

from dynamo_nb.runtime.tracing import TRACING


class Stuck(trace.TracerProvider):
    def get_tracer(self, *args, **kwargs):
        return trace.NoOpTracer()

    def shutdown(self):
        threading.Event().wait()


trace.set_tracer_provider(Stuck())
TRACING.detect()
assert TRACING.tracer is not None
asyncio.run(TRACING.flush())
"""


class Collector:
    """The exported spans, as plain data."""

    def __init__(self):
        self.spans = []

    def receive(self, body):
        for process_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = attributes(process_spans.resource)
            for library_spans in process_spans.scope_spans:
                for span in library_spans.spans:
                    self.spans.append(Span(span, resource))

    def of(self, service, name, kind, trace=TRACE):
        (found,) = (
            span
            for span in self.spans
            if (span.service, span.name, span.kind) == (service, name, kind) and trace in {span.trace, None}
        )
        return found


class Span:
    def __init__(self, span, resource):
        self.name, self.kind = span.name, span.kind
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.service, self.worker = resource["service.name"], resource["service.instance.id"]
        self.attributes, self.status = attributes(span), (span.status.code, span.status.message)
        self.events = {event.name: attributes(event) for event in span.events}


def attributes(of):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in of.attributes}


@contextmanager
def collecting():
    """A collector, with the environment variables that export to it."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            collector.receive(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, pytest.MonkeyPatch.context() as patch:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        patch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        yield collector
        server.shutdown()
        serving.join()


@contextmanager
def of_trace(number):
    with request_scope({"traceparent": f"00-{number * 32}-{PARENT}-01"}):
        yield


@pytest.fixture(scope="module")
def collector(module_project):
    """The spans of a deployment, read after its end. Each request has its own trace."""
    module_project.write("program.py", PROGRAM)
    with collecting() as collector, module_project.serve("program:Frontend").result() as deployment:
        with of_trace("a"):
            assert deployment.Frontend.say("x").result() == "x"
        with of_trace("b"):
            assert deployment.Frontend.words("one two").result() == ["one", "two"]
        with of_trace("c"), pytest.raises(EndpointError):
            deployment.Frontend.say("fail").result()
        with of_trace("d"), pytest.raises(DeadlineExceeded):
            deployment.Middle.hurry("wait").result()
        with of_trace("f"), pytest.MonkeyPatch.context() as patch:
            patch.setattr(call_context, "checked_headers", dict)
            with request_scope({"timeout": str(SOON)}), pytest.raises(DeadlineExceeded):
                deployment.Backend.say("wait").result()  # which only the worker enforces
        with of_trace("9"):
            assert deployment.Middle.first("one two").result() == "one"
        traceparent = {"traceparent": f"00-{'7' * 32}-{PARENT}-01"}
        assert httpx.post(f"{deployment.urls['Frontend']}/page", json={"text": "x"}, headers=traceparent).json() == "x"
        with of_trace("e"):
            deployment.Frontend.alone("alone").result()
    return collector


@pytest.mark.parametrize(("number", "endpoint"), [("a", "say"), ("b", "words")])
def test_a_request_through_three_services_is_one_trace(collector, number, endpoint):
    chain = [
        ("Frontend", f"default.Frontend/{endpoint}", SERVER),
        ("Frontend", f"default.Middle/{endpoint}", CLIENT),
        ("Middle", f"default.Middle/{endpoint}", SERVER),
        *([("Middle", "think", OWN)] if endpoint == "say" else []),
        ("Middle", f"default.Backend/{endpoint}", CLIENT),
        ("Backend", f"default.Backend/{endpoint}", SERVER),
    ]
    spans = [collector.of(*span, trace=number * 32) for span in chain]
    assert [span.parent for span in spans] == [PARENT, *(span.id for span in spans[:-1])]
    assert len([span for span in collector.spans if span.trace == number * 32]) == len(chain)


def test_a_request_over_http_is_a_part_of_its_clients_trace(collector):
    framework = [span for span in collector.spans if span.name == "POST /page"]  # newer versions of FastAPI have one
    parents = [PARENT, *(span.id for span in framework)]
    served = collector.of("Frontend", "default.Frontend/page", SERVER, "7" * 32)
    assert [span.parent for span in [*framework, served]] == parents
    assert collector.of("Frontend", "default.Middle/say", CLIENT, "7" * 32).parent == served.id


def test_spans_follow_the_conventions_for_rpc(collector):
    served = collector.of("Backend", "default.Backend/say", SERVER)
    called = collector.of("Middle", "default.Backend/say", CLIENT)
    for span in served, called:
        assert span.attributes["rpc.system.name"] == "dynamo"
        assert span.attributes["rpc.method"] == "default.Backend/say"
        assert span.status == (0, "")
    assert called.attributes["server.address"] == "default.Backend"
    (request_id,) = served.attributes["rpc.request.metadata.request-id"].values
    (first,) = (
        collector.of("Frontend", "default.Frontend/say", SERVER).attributes["rpc.request.metadata.request-id"].values
    )
    assert request_id == first


def test_spans_name_their_service_and_worker(collector):
    assert {(span.service, span.worker.partition(".")[0]) for span in collector.spans} == {
        (name, name) for name in ("Frontend", "Middle", "Backend")
    }


def test_an_exception_is_recorded_on_its_span_and_the_spans_above(collector):
    trace = "c" * 32
    raised = collector.of("Backend", "default.Backend/say", SERVER, trace)
    assert raised.status == (ERROR, "ValueError: I cannot say this")
    assert raised.attributes["error.type"] == "ValueError"
    assert raised.attributes["rpc.response.status_code"] == "endpoint"
    assert raised.events["exception"]["exception.type"] == "ValueError"
    assert 'raise ValueError("I cannot say this")' in raised.events["exception"]["exception.stacktrace"]
    above = [span for span in collector.spans if span.trace == trace and span.id != raised.id]
    assert len(above) == 5
    assert {span.status[0] for span in above} == {ERROR}


@pytest.mark.parametrize(("service", "kind", "number"), [("Middle", CLIENT, "d"), ("Backend", SERVER, "f")])
def test_a_deadline_is_an_error_of_the_end_that_enforces_it(collector, service, kind, number):
    span = collector.of(service, "default.Backend/say", kind, number * 32)
    assert (span.status[0], span.attributes.get("error.type")) == (ERROR, "deadline")


def test_a_cancelled_call_is_not_an_error(collector):
    span = collector.of("Middle", "default.Backend/words", CLIENT, "9" * 32)
    assert (span.status, span.attributes["rpc.response.status_code"]) == ((0, ""), "cancelled")


def test_a_call_without_its_request_starts_a_new_trace(collector):
    (call,) = (
        span
        for span in collector.spans
        if (span.service, span.kind, span.name) == ("Middle", CLIENT, "default.Backend/say") and not span.parent
    )
    assert call.trace != "e" * 32
    assert collector.of("Backend", "default.Backend/say", SERVER, call.trace).parent == call.id


def test_a_provider_that_a_notebook_configures_is_used_from_then_on(project):
    project.write("program.py", PROGRAM)
    with collecting() as collector:
        done = subprocess.run(
            [sys.executable, "-c", NOTEBOOK], cwd=project.folder, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    trace, call, name = done.stdout.split()
    assert name == "default.Frontend/say"
    assert collector.of("Frontend", name, SERVER, trace).parent == call


def test_without_configuration_nothing_is_imported(project):
    project.write("program.py", PROGRAM)
    with project.serve("program:Frontend").result() as deployment:
        assert deployment.Frontend.imported().result() == []


@pytest.mark.parametrize(
    ("variables", "logged"),
    [
        ({"OTEL_TRACES_EXPORTER": "console"}, '"name": "default.Frontend/say"'),
        ({"OTEL_TRACES_EXPORTER": "no_such"}, "OpenTelemetry could not be configured"),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_PYTHON_CONFIGURATOR": "no_such"}, "pip install 'dynamo-nb[otel]'"),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}, ""),
    ],
)
def test_a_service_serves_with_any_variables(project, monkeypatch, variables, logged):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    project.write("program.py", PROGRAM)
    with project.serve("program:Frontend").result() as deployment:
        assert deployment.Frontend.say("x").result() == "x"
        deployment.restart("Frontend").result()  # all that it printed is then in its log
        logs = deployment.logs("Frontend", lines=1000)
    assert logged in logs
    assert ("default.Frontend/say" in logs) == (variables == {"OTEL_TRACES_EXPORTER": "console"}), json.dumps(logs)


def test_a_collector_that_accepts_nothing_does_not_delay_the_end_of_a_worker():
    subprocess.run([sys.executable, "-c", STUCK], check=True, timeout=30)
