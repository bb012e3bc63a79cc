"""The HTTP routes of services of every form: endpoints, FastAPI applications, and other ASGI applications."""

import json
import re
import subprocess
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dynamo_nb.cli.main import run
from dynamo_nb.cli.terminal_host import TerminalHost
from dynamo_nb.errors import DeadlineExceeded, EndpointError, InvalidArgument, NoInstances, NoSuchService
from dynamo_nb.observe.request import Request
from dynamo_nb.observe.route import routes_of
from dynamo_nb.observe.traffic import TrafficWindow

pytestmark = pytest.mark.slow

PROGRAM = '''
import asyncio
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Body, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from dynamo_nb import depends, dynamo_api, dynamo_endpoint, service, trace_note
from dynamo_nb.sdk import DynamoTransport


class Message(BaseModel):
    role: str
    content: str


class Chat(BaseModel):
    messages: list[Message] = Field(min_length=1)
    stream: bool = False


app, router, mounted, started = FastAPI(), APIRouter(prefix="/items"), FastAPI(), []


@app.post("/v1/chat")
async def chat(body: Chat):
    """Answers a chat.

    It may stream.
    """
    if not body.stream:
        return {"role": "assistant", "content": body.messages[-1].content}

    async def events():
        for word in body.messages[-1].content.split():
            yield f"data: {{\\"word\\": \\"{word}\\"}}\\n\\n"
        yield "data: [DONE]\\n\\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@router.get("/{item}")
async def item(item: int, size: int, word: Annotated[str, Header()], unused: int = 3):
    return [item, size, word]


@router.put("/{item}")
async def put(item: str, body: Annotated[dict, Body(examples=[{"a": 1}])]):
    return body


@router.delete("/{item}")
async def delete(item: str):
    return Response(status_code=204)


@app.get("/fails")
async def fails():
    raise HTTPException(503, "not now")


@app.get("/calls")
async def calls(request: Request):
    trace_note(seen=True)
    return "called"


@app.get("/hangs")
async def hangs():
    await asyncio.Event().wait()


@mounted.get("/inner/{name}")
async def inner(name: str):
    return name


@mounted.get("/files/{path:path}")
async def files(path: str):
    return path


app.include_router(router, prefix="/v1")
app.mount("/mounted", mounted)


async def plain(request):
    return PlainTextResponse("plain")


async def whether_started(request):
    return PlainTextResponse(str(len(started)))


@asynccontextmanager
async def lifespan(_):
    started.append(1)
    yield


other = Starlette(routes=[Route("/plain", plain), Route("/started", whether_started)], lifespan=lifespan)


@service
class Backend:
    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return text


@service(app=other)
class Other:
    """Only an application of the user."""


@service
class Texts:
    @dynamo_api(example={"text": "an example", "limit": 7})
    async def literal(self, request: Request, limit: int = 3):
        return [await request.json(), limit]

    async def current(self):
        return {"thing": "a b", "text": "made by the service"}

    @dynamo_api("{thing}/made", example=current)
    async def made(self, thing: str, request: Request):
        return [thing, await request.json()]

    @dynamo_api(example=lambda self: 1 / 0)
    async def broken(self, text: str):
        return text


@service(app=app)
class Own:
    """Only an application of the user."""


@service(workers=2)
class Web:
    backend = depends(Backend)
    own = depends(Own)
    other = depends(Other)
    texts = depends(Texts)

    @dynamo_api()
    async def generate(self, text: str, times: int = 1):
        """Repeats a text."""
        return (await self.backend.say(text)) * times

    @dynamo_endpoint(transports=[DynamoTransport.DEFAULT, DynamoTransport.HTTP])
    async def both(self, text: str) -> str:
        return text.upper()

    @dynamo_api()
    async def model(self, message: Message):
        return message.content

    @dynamo_api()
    async def words(self, text: str):
        for word in text.split():
            yield word + " "

    @dynamo_api()
    async def lines(self, upto: int):
        for number in range(upto):
            yield {"number": number}

    @dynamo_api(name="v1/things/{thing}", http_method="GET")
    async def thing(self, thing: str, limit: int = 10):
        return [thing, limit]
'''


@pytest.fixture(scope="module")
def deployment(module_project):
    module_project.write("routed.py", PROGRAM)
    with module_project.serve("routed:Web").result() as deployment:
        yield deployment


def shell(line):
    return subprocess.run(["bash", "-c", f"{line} -sS --fail-with-body --max-time 20"], capture_output=True, text=True)


def reading(deployment, service, route):
    """The counts of a route, over all workers."""
    found = deployment.metrics().result()["services"][service]["routes"].values()
    return [routes[route] for routes in found if route in routes]


def test_the_routes_of_every_form_of_service_are_listed(deployment):
    routes = {(route.service, route.name): route for route in deployment.routes().result()}

    assert set(routes) == {
        ("Web", "POST /generate"),
        ("Web", "POST /both"),
        ("Web", "POST /model"),
        ("Web", "POST /words"),
        ("Web", "POST /lines"),
        ("Web", "GET /v1/things/{thing}"),
        ("Own", "POST /v1/chat"),
        ("Own", "GET /v1/items/{item}"),
        ("Own", "PUT /v1/items/{item}"),
        ("Own", "DELETE /v1/items/{item}"),
        ("Own", "GET /fails"),
        ("Own", "GET /calls"),
        ("Own", "GET /hangs"),
        ("Own", "GET /mounted/inner/{name}"),
        ("Own", "GET /mounted/files/{path}"),
        ("Other", "GET /plain"),
        ("Other", "GET /started"),
        ("Texts", "POST /literal"),
        ("Texts", "POST /{thing}/made"),
        ("Texts", "POST /broken"),
    }
    assert routes["Web", "POST /generate"].doc == "Repeats a text."
    assert routes["Own", "POST /v1/chat"].doc == "Answers a chat."
    assert {name: routes[name].docs for name in [("Web", "POST /both"), ("Other", "GET /plain")]} == {
        ("Web", "POST /both"): deployment.urls["Web"] + "/docs",
        ("Other", "GET /plain"): "",
    }


def test_every_curl_line_works(deployment):
    answers = {}
    for route in deployment.routes().result():
        if route.name not in {"GET /fails", "GET /hangs"}:
            ran = shell(route.curl)
            assert ran.returncode == 0, (route.curl, ran.stdout, ran.stderr)
            answers[route.name] = ran.stdout

    assert answers["POST /generate"] == '"hello"'
    assert json.loads(answers["GET /v1/items/{item}"]) == [1, 1, "text"]
    assert json.loads(answers["PUT /v1/items/{item}"]) == {"a": 1}
    assert json.loads(answers["POST /v1/chat"]) == {"role": "assistant", "content": "Hello"}
    assert json.loads(answers["POST /literal"]) == [{"text": "an example", "limit": 7}, 7]
    assert json.loads(answers["POST /{thing}/made"]) == ["a b", {"text": "made by the service"}]
    assert answers["POST /broken"] == '"hello"'
    assert answers["GET /plain"] == "plain"
    assert answers["GET /started"] == "1", "the startup of the application has run"


def test_the_curl_line_of_a_form_has_its_fields_and_files():
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "file": {"type": "string", "format": "binary"}},
        "required": ["name", "file"],
    }
    route = {
        "method": "POST",
        "path": "/form",
        "doc": "",
        "parameters": [{"name": "session", "in": "cookie", "required": True, "schema": {"type": "string"}}],
        "body": {"type": "multipart/form-data", "schema": {"$ref": "#/components/schemas/Form"}},
    }
    (found,) = routes_of("Web", "http://x:1", {"routes": [route], "schemas": {"Form": schema}, "docs": ""})

    assert (
        found.curl == "curl -N http://x:1/form -H 'cookie: session=text' -F name=name -F 'file=text;filename=example'"
    )


def test_every_documentation_page_is_there(deployment):
    for docs in {route.docs for route in deployment.routes().result() if route.docs}:
        assert "swagger" in shell(f"curl {docs}").stdout


def test_routes_are_shown_as_a_table_with_links(deployment):
    html = deployment.routes("Web").result()._repr_mimebundle_()["text/html"]

    assert f'href="{deployment.urls["Web"]}/docs"' in html
    assert "curl -N" in html


@pytest.mark.parametrize(
    ("target", "payload", "answer"),
    [
        ("POST /generate", '{"text": "ab", "times": 2}', "abab"),
        ("post /both", '{"text": "a"}', "A"),
        ("POST /model", '{"role": "user", "content": "x"}', "x"),
        ("POST /words", '{"text": "a b"}', ["a ", "b "]),
        ("POST /lines", '{"upto": 3}', [{"number": 0}, {"number": 1}, {"number": 2}]),
        ("GET /v1/things/a%20b?limit=3", None, ["a b", 3]),
        ("GET /v1/things/x", '{"limit": 4}', ["x", 4]),
        ("Own GET /mounted/inner/x", None, "x"),
        (
            "Own POST /v1/chat",
            '{"messages": [{"role": "user", "content": "a b"}], "stream": true}',
            [{"word": "a"}, {"word": "b"}],
        ),
        ("Own DELETE /v1/items/3", None, None),
        ("Other GET /plain", None, "plain"),
        ("Web.generate", '"one"', "one"),
        ("web.model", '{"role": "user", "content": "y"}', "y"),
        ("Web.v1/things/{thing}", '{"thing": "z", "limit": 5}', ["z", 5]),
    ],
)
def test_a_request_over_http_is_a_call(deployment, target, payload, answer):
    assert Request.parse(deployment, target, payload).call().result() == answer


def test_a_complete_url_names_the_service(deployment):
    assert deployment.http(f"GET {deployment.urls['Other']}/plain").result() == "plain"


def test_the_items_of_a_stream_are_iterated_as_they_come(deployment):
    assert list(deployment.http("POST /lines", {"upto": 2})) == [{"number": 0}, {"number": 1}]


@pytest.mark.parametrize(
    ("target", "payload", "error", "message"),
    [
        ("GET /plain", None, NoSuchService, r'several services .* name the service: "\w+ GET /plain"'),
        ("Backend GET /plain", None, NoSuchService, "Backend does not answer over HTTP"),
        ("GET http://127.0.0.1:1/plain", None, InvalidArgument, "is not a URL of this deployment"),
        ("GET /v1/things/x", [1], InvalidArgument, "takes no body"),
        ("POST /generate", {"text": object()}, InvalidArgument, "is not JSON"),
        ("generate", None, InvalidArgument, "does not name an HTTP route"),
    ],
)
def test_a_request_that_cannot_be_made_is_an_error(deployment, target, payload, error, message):
    with pytest.raises(error, match=re.compile(message, re.DOTALL)):
        deployment.http(target, payload)


def test_an_answer_with_an_error_status_raises_its_message(deployment):
    with pytest.raises(EndpointError, match="GET /fails answered 503: not now") as caught:
        deployment.http("Own GET /fails").result()
    assert caught.value.kind == "HTTP 503"


def test_a_request_that_is_late_is_cancelled(deployment):
    with pytest.raises(DeadlineExceeded, match=r"GET /hangs was not answered within 0\.2 s"):
        deployment.http("Own GET /hangs").using(timeout=0.2).result()


def test_a_service_that_was_scaled_to_0_has_no_instances(deployment):
    call = deployment.http("Other GET /plain")
    deployment.scale(Other=0).result()
    try:
        with pytest.raises(NoInstances):
            call.result()
    finally:
        deployment.scale(Other=1).result()
    assert call.result() == "plain"


# --- measured


def test_a_load_over_http_is_measured_like_calls(deployment):
    result = deployment.bench(deployment.http("POST /generate", {"text": "a"}), concurrency=4, requests=50).result()

    assert (result.target, result.calls, result.errors, result.items) == ("POST /generate", 50, {}, 0)
    assert result.latency is not None
    assert result.first_item is None
    assert "<svg" in result._repr_mimebundle_()["image/svg+xml"]


def test_the_events_of_a_stream_are_counted_as_items(deployment):
    payload = {"messages": [{"role": "user", "content": "a b c"}], "stream": True}
    result = deployment.bench(deployment.http("Own POST /v1/chat", payload), requests=10).result()

    assert (result.calls, result.items, result.errors) == (10, 30, {})
    assert result.first_item.count == 10
    assert result.between_items.count == 20


def test_answers_with_an_error_status_are_counted_by_their_status(deployment):
    result = deployment.bench(deployment.http("Own GET /fails"), deployment.http("Own GET /calls"), requests=6).result()

    assert result.calls == 3
    assert (result.errors["HTTP 503"].count, result.errors["HTTP 503"].example) == (
        3,
        "GET /fails answered 503: not now",
    )


def test_no_request_of_a_load_fails_while_the_workers_are_replaced(deployment):
    run = deployment.bench(deployment.http("POST /generate", {"text": "a"}), concurrency=4, duration=600).start()
    deployment.restart("Web").result()
    before = run.measured.calls
    while run.measured.calls < before + 20:
        pass
    assert run.stop().errors == {}


def test_requests_are_counted_by_route_with_the_classes_of_their_status(deployment):
    def counts(service, *routes):
        read = deployment.metrics().result()["services"][service]["routes"].values()
        totals = {}
        for worker in read:
            for route in routes:
                for kind, count in worker.get(route, {}).get("statuses", {}).items():
                    totals[route, kind] = totals.get((route, kind), 0) + count
        return totals

    names = ["GET /v1/items/{item}", "GET /fails", "GET /mounted/inner/{name}", "other"]
    before = counts("Own", *names)
    headers = {"word": "w"}
    for number in (1, 2):
        deployment.http(f"Own GET /v1/items/{number}?size=1", headers=headers).result()
    for target in ("GET /v1/items/x?size=1", "GET /fails", "GET /nowhere"):
        with pytest.raises(EndpointError):
            deployment.http(f"Own {target}", headers=headers).result()
    deployment.http("Own GET /mounted/inner/a").result()

    after = counts("Own", *names)
    assert {key: count - before.get(key, 0) for key, count in after.items() if count != before.get(key, 0)} == {
        ("GET /v1/items/{item}", "2xx"): 2,
        ("GET /v1/items/{item}", "4xx"): 1,
        ("GET /fails", "5xx"): 1,
        ("GET /mounted/inner/{name}", "2xx"): 1,
        ("other", "4xx"): 1,
    }
    (read,) = reading(deployment, "Own", "GET /mounted/inner/{name}")
    assert read["seconds"]["count"] == read["requests"]
    assert read["in_flight"] == 0


# --- traced


def test_a_request_over_http_is_traced_through_the_services(deployment):
    trace = deployment.trace(deployment.http("POST /generate", {"text": "a"})).result()

    assert trace.value == "a"
    assert [(span.name, span.kind) for span in trace.spans] == [
        ("Web POST /generate", "client"),
        ("Web.generate", "server"),
        ("Backend.say", "client"),
        ("Backend.say", "server"),
    ]
    assert "Web POST /generate took" in str(trace)
    assert "<svg" in trace._repr_mimebundle_()["image/svg+xml"]


def test_a_route_of_the_users_own_application_is_traced(deployment):
    trace = deployment.trace(deployment.http("Own GET /calls")).result()

    _, server = trace.spans
    assert (server.name, server.kind, server.notes) == ("Own GET /calls", "server", {"seen": True})
    assert server.end is not None
    assert server.bytes_out == len('"called"')


def test_the_trace_of_a_failed_request_shows_its_status(deployment):
    trace = deployment.trace(deployment.http("Own GET /fails")).result()

    assert isinstance(trace.error, EndpointError)
    assert trace.spans[1].error == "no_instances"
    assert "the answer has the status 503" in str(trace)


def test_the_routes_of_the_users_own_application_count_as_requests_of_the_service(deployment):
    window = TrafficWindow()
    window.add(deployment.metrics().result())
    deployment.http("Own GET /calls").result()
    deployment.http("POST /generate", {"text": "a"}).result()

    traffic = window.add(deployment.metrics().result())

    assert traffic.services["Own"].rate > 0
    assert traffic.endpoints["Own", "GET /calls"].rate > 0
    assert ("Web", "POST /generate") not in traffic.endpoints
    assert traffic.endpoints["Web", "generate"].rate == traffic.routes["Web", "POST /generate"].rate
    assert traffic.routes["Own", "GET /calls"].statuses["2xx"] > 0
    assert traffic.routes["Own", "GET /calls"].p50 is not None


def test_the_page_for_prometheus_has_the_answers_of_each_route(deployment):
    deployment.http("Own GET /calls").result()
    with urllib.request.urlopen(deployment.metrics_url, timeout=10) as answer:
        families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    labels = {
        "service": "Own",
        "route": "GET /calls",
        "worker": deployment.status.services["Own"].workers[0].id,
        "status": "2xx",
    }
    (sample,) = [sample for sample in families["dynamo_http_answers"].samples if sample.labels == labels]
    assert sample.value >= 1


def test_a_route_is_benched_from_the_command_line_without_quotation(deployment, capsys):
    words = ["bench", "GET", "/v1/things/x", "-n", "3", "-d", deployment.id, "--json"]
    run(words, TerminalHost())
    figures = json.loads(capsys.readouterr().out)
    assert (figures["target"], figures["calls"], figures["errors"]) == ("GET /v1/things/x", 3, {})
