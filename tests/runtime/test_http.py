"""HTTP endpoints of served services."""

import json
import socket
import urllib.error
import urllib.request

import httpx
import pytest

from dynamo_nb.errors import PlacementError

pytestmark = pytest.mark.slow

SERVICES = """
from typing import Annotated

import fastapi
from fastapi import FastAPI, Header, Path, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel

from dynamo_nb import DynamoTransport, api, depends, dynamo_endpoint, endpoint, liveness, readiness, service


class Question(BaseModel):
    text: str
    times: int = 1


class Answer(BaseModel):
    text: str


@service
class Backend:
    @dynamo_endpoint()
    async def generate(self, question: Question) -> Answer:
        return Answer(text=question.text * question.times)

    @dynamo_endpoint()
    async def refuse(self):
        raise KeyError("refused")


@service
class Web:
    backend = depends(Backend)

    @api()
    async def model(self, question: Question):
        return await self.backend.generate(question)

    @api()
    async def optional(self, question: Question | None = None) -> str:
        return "nothing" if question is None else question.text

    @api()
    async def annotated(self, question: Annotated[Question, fastapi.Body(embed=True)]):
        return question.text

    @api()
    async def mapping(self, request: dict):
        return request

    @api()
    async def plain(self, text: str, times: int = 1):
        return {"said": text * times}

    @api()
    async def untyped(self, value):
        return [value]

    @api()
    async def several(self, question: Question, times: int):
        return question.text * times

    @api(http_method="GET")
    async def query(self, text: str, times: int = 1):
        return text * times

    @api()
    async def marked(self, text: str = Query(), agent: Annotated[str, Header()] = "none"):
        return [text, agent]

    @api(name="items/{item}", http_method="PUT")
    async def item(self, item: int, text: str):
        return [item, text]

    @api(name="v1/chat/completions")
    async def completions(self, question: Question, request: Request):
        return [question.text, request.url.path]

    @api()
    def synchronous(self, text: str):
        return text.upper()

    @api()
    async def words(self, text: str):
        for word in text.split():
            yield word

    @api()
    async def objects(self, text: str):
        for word in text.split():
            yield Answer(text=word)

    @api()
    async def raw(self):
        yield b"\\x00"
        yield b"\\x01"

    @api()
    async def no_words(self):
        for word in ():
            yield word

    @api()
    async def fails_at_once(self):
        raise ValueError("mine")
        yield

    @api()
    async def events(self):
        async def stream():
            yield "data: 1\\n\\n"
            yield "data: 2\\n\\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    @api()
    async def teapot(self):
        return PlainTextResponse("short and stout", status_code=418)

    @api()
    async def not_here(self):
        raise fastapi.HTTPException(404, "not here")

    @api()
    async def fails(self):
        raise ValueError("mine")

    @api()
    async def fails_below(self):
        return await self.backend.refuse()

    @api()
    async def wrong_call(self):
        return await self.backend.generate({"txt": "a"})

    @endpoint(transports=[DynamoTransport.HTTP, DynamoTransport.DEFAULT])
    async def everywhere(self, text: str) -> str:
        return text + "!"

    @dynamo_endpoint()
    async def inner(self) -> int:
        return 1


@service
class Entry:
    web = depends(Web)
    own = depends("Own")
    sick = depends("Sick")


app = FastAPI()


@app.get("/mine")
def mine():
    return "by hand"


@service(app=app)
class Own:
    @api()
    async def joined(self):
        return "joined"

    @liveness
    def alive(self):
        return True

    @readiness
    async def ready(self):
        return True


@service
class Sick:
    @api()
    async def answer(self):
        return 1

    @liveness
    async def alive(self):
        raise RuntimeError("the engine is gone")

    @readiness
    def ready(self):
        return False
"""


class Reply:
    def __init__(self, response):
        self.status, self.type, self.body = response.status, response.headers["content-type"], response.read()

    @property
    def json(self):
        return json.loads(self.body)


@pytest.fixture(scope="module")
def urls(module_project):
    module_project.write("web.py", SERVICES)
    with module_project.serve("web:Entry").result() as deployment:
        assert set(deployment.urls) == {"Web", "Own", "Sick"}
        yield deployment.urls


@pytest.fixture
def ask(urls):
    def ask(path, body=None, method=None, service="Web", headers=None):
        data = None if body is None and method == "GET" else json.dumps(body).encode()
        headers = {"content-type": "application/json"} | (headers or {})
        request = urllib.request.Request(f"{urls[service]}/{path}", data, headers, method=method or "POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Reply(response)
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error)

    return ask


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("model", {"text": "a", "times": 2}, {"text": "aa"}),
        ("optional", {"text": "a"}, "a"),
        ("optional", None, "nothing"),
        ("annotated", {"question": {"text": "a"}}, "a"),
        ("mapping", {"any": ["thing"]}, {"any": ["thing"]}),
        ("plain", {"text": "a", "times": 2}, {"said": "aa"}),
        ("plain", {"text": "a"}, {"said": "a"}),
        ("untyped", {"value": {"a": 1}}, [{"a": 1}]),
        ("several", {"question": {"text": "a"}, "times": 3}, "aaa"),
        ("marked?text=a", None, ["a", "none"]),
        ("v1/chat/completions", {"text": "a"}, ["a", "/v1/chat/completions"]),
        ("synchronous", {"text": "a"}, "A"),
        ("everywhere", {"text": "a"}, "a!"),
    ],
)
def test_the_body_of_a_post_is_parsed_by_the_annotations(ask, path, body, answer):
    reply = ask(path, body)
    assert (reply.status, reply.json) == (200, answer)


def test_parameters_of_a_get_come_from_the_query(ask):
    assert ask("query?text=a&times=3", method="GET").json == "aaa"
    assert ask("query", {"text": "a"}).status == 405


def test_a_name_may_contain_parameters_of_the_path(ask):
    assert ask("items/7", {"text": "a"}, method="PUT").json == [7, "a"]


def test_a_stream_of_text_is_sent_as_text(ask):
    reply = ask("words", {"text": "a b c"})
    assert (reply.type, reply.body) == ("text/plain; charset=utf-8", b"abc")
    assert ask("no_words", {}).body == b""


def test_a_stream_of_objects_is_sent_as_lines_of_json(ask):
    reply = ask("objects", {"text": "a b"})
    assert (reply.type, reply.body) == ("application/x-ndjson", b'{"text": "a"}\n{"text": "b"}\n')


def test_a_stream_of_bytes_is_sent_unchanged(ask):
    reply = ask("raw", {})
    assert (reply.type, reply.body) == ("application/octet-stream", b"\x00\x01")


def test_a_response_of_the_endpoint_is_sent_unchanged(ask):
    reply = ask("events")
    assert (reply.type, reply.body) == ("text/event-stream; charset=utf-8", b"data: 1\n\ndata: 2\n\n")
    reply = ask("teapot")
    assert (reply.status, reply.body) == (418, b"short and stout")
    assert ask("not_here").json == {"detail": "not here"}


def test_invalid_arguments_are_422(ask):
    reply = ask("model", {"times": 2})
    assert (reply.status, reply.json["detail"][0]["loc"]) == (422, ["body", "text"])
    assert ask("plain", {}).status == 422
    assert ask("query", method="GET").status == 422


def test_an_exception_of_the_service_is_500(ask):
    assert ask("fails").status == 500
    assert ask("fails_at_once").status == 500


def test_an_error_of_a_call_is_500_with_its_message(ask):
    reply = ask("fails_below")
    assert reply.status == 500
    assert reply.json["error"]["type"] == "EndpointError"
    assert "refused" in reply.json["error"]["message"]


def test_an_invalid_argument_of_a_dependency_is_422(ask):
    reply = ask("wrong_call")
    assert reply.status == 422
    assert "'question' does not fit" in reply.json["error"]["message"]


def test_other_endpoints_have_no_route(ask):
    assert ask("inner").status == 404


def test_routes_are_added_to_the_users_application(ask):
    assert ask("joined", service="Own").json == "joined"
    assert ask("mine", method="GET", service="Own").json == "by hand"


def test_probes_report_the_hooks(ask):
    for probe in ("healthz", "readyz"):
        reply = ask(probe, method="GET", service="Own")
        assert (reply.status, reply.json) == (200, {"status": "ok"})
    assert ask("healthz", method="GET").status == 200
    reply = ask("healthz", method="GET", service="Sick")
    assert (reply.status, reply.json["error"]) == (503, "RuntimeError: the engine is gone")
    assert ask("readyz", method="GET", service="Sick").status == 503


def test_the_application_has_an_openapi_description(ask):
    paths = ask("openapi.json", method="GET").json["paths"]
    assert "post" in paths["/model"]
    assert "get" in paths["/query"]
    assert "/healthz" not in paths


def test_each_service_has_its_own_port(urls):
    assert len(set(urls.values())) == 3
    assert all(url.startswith("http://127.0.0.1:") for url in urls.values())


ONE = """
import os
import socket
import stat
from contextlib import suppress

from dynamo_nb import api, service

@service
class One:
    @api()
    async def hello(self):
        return "hello"

    @api(http_method="GET")
    async def inherited(self):
        # The sockets of TCP that a new program in the worker would have.
        found = []
        for number in map(int, os.listdir("/proc/self/fd")):
            with suppress(OSError):
                if stat.S_ISSOCK(os.fstat(number).st_mode) and os.get_inheritable(number):
                    with socket.socket(fileno=os.dup(number)) as copy:
                        found += [copy.getsockname()] if copy.family == socket.AF_INET else []
        return found
"""


async def test_the_error_of_a_taken_port_names_the_process(project):
    project.write("one.py", ONE)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PlacementError, match=rf"port {port} is in use by process \d+") as caught:
            await project.serve("one:One", http_port=port)
        assert "--http-port" in caught.value.remedy


async def test_the_requested_port_is_used(project):
    project.write("one.py", ONE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with await project.serve("one:One", http_port=port) as deployment:
        assert deployment.urls == {"One": f"http://127.0.0.1:{port}"}


async def test_programs_that_a_worker_starts_do_not_keep_its_port(project):
    project.write("one.py", ONE)
    async with await project.serve("one:One") as deployment, httpx.AsyncClient() as client:
        assert (await client.get(f"{deployment.urls['One']}/inherited")).json() == []
