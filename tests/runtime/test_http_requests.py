"""Requests over HTTP whose client goes away or whose time is over, and how they are counted and traced."""

import asyncio
import json
import socket
import struct
from contextlib import contextmanager

import httpx
import pytest

from dynamo_nb.runtime.spans import TRACED, new_trace
from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

BOUND = 20.0

PROGRAM = '''
import asyncio
import os
import threading
from collections import Counter, defaultdict

from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware

from dynamo_nb import depends, dynamo_api, dynamo_endpoint, service, trace_note

states, changed = Counter(), asyncio.Condition()
gates = defaultdict(asyncio.Event)


async def note(state):
    states[state] += 1
    async with changed:
        changed.notify_all()


async def forever(name):
    """Waits for ever, and notes its beginning and its end."""
    await note(f"{name} began")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await note(f"{name} cancelled")
        raise


async def endless(name):
    await note(f"{name} began")
    try:
        while True:
            yield "x" * 65536
            await asyncio.sleep(0)
    finally:
        await note(f"{name} cancelled")


class States:
    @dynamo_endpoint()
    async def until(self, state: str, count: int) -> None:
        async with changed:
            await changed.wait_for(lambda: states[state] >= count)

    @dynamo_endpoint()
    async def seen(self, state: str) -> int:
        return states[state]

    @dynamo_endpoint()
    async def open_gate(self, name: str) -> None:
        gates[name].set()


@service
class Backend(States):
    @dynamo_endpoint()
    async def wait(self) -> None:
        await forever("backend")

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return text


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        return await call_next(request)


app = FastAPI()
router = APIRouter()
mounted = FastAPI()


@app.get("/route")
async def route():
    await forever("route")


@app.post("/route_with_body")
async def route_with_body(request: Request):
    assert len(await request.body()) == 300_000
    await forever("route_with_body")


@app.post("/route_reading")
async def route_reading(request: Request):
    await note("route_reading began")
    try:
        await request.body()
    except BaseException:
        await note("route_reading cancelled")
        raise


@app.get("/route_stream")
async def route_stream():
    async def items():
        await forever("route_stream")
        yield b""

    return StreamingResponse(items())


@app.get("/route_background")
async def route_background(tasks: BackgroundTasks):
    async def later():
        await note("background began")
        await gates["background"].wait()
        await note("background finished")

    tasks.add_task(later)
    return "at once"


@router.get("/included")
async def included():
    await forever("included")


@mounted.get("/route")
async def in_mounted():
    await forever("mounted")


app.include_router(router)
app.mount("/mounted", mounted)
app.add_middleware(Passing)


@service(app=app)
class Routes(States):
    pass

    @dynamo_api(http_method="GET")
    async def behind_middleware(self):
        await forever("behind_middleware")


@service
class Web(States):
    backend = depends(Backend)
    routes = depends(Routes)

    @dynamo_api(http_method="GET")
    async def whole(self):
        await forever("whole")

    @dynamo_api()
    async def with_body(self, text: str):
        await forever("with_body")

    @dynamo_api(http_method="GET")
    async def stream(self):
        await forever("stream")
        yield "never"

    @dynamo_api(http_method="GET")
    async def begun_stream(self):
        yield "first"
        await forever("begun_stream")

    @dynamo_api(http_method="GET")
    async def endless_stream(self):
        async for item in endless("endless_stream"):
            yield item

    @dynamo_api(http_method="GET")
    async def response(self):
        async def items():
            await forever("response")
            yield b""

        return StreamingResponse(items())

    @dynamo_api(http_method="GET")
    async def call(self):
        await self.backend.wait()

    @dynamo_api(name="named/{item}", http_method="GET")
    async def named(self, item: str):
        await forever("named")

    # --- answers

    @dynamo_api()
    async def say(self, text: str):
        trace_note(length=len(text))
        return await self.backend.say(text)

    @dynamo_api()
    async def words(self, text: str):
        for word in text.split():
            yield word

    @dynamo_api(http_method="GET")
    def synchronous(self):
        return "x"

    @dynamo_api(name="v1/items/{item}", http_method="GET")
    async def item(self, item: str):
        return item

    @dynamo_api(http_method="GET")
    async def fails(self):
        raise ValueError("mine")

    @dynamo_api(http_method="GET")
    async def refuses(self):
        raise HTTPException(404, "not here")

    @dynamo_api(http_method="GET")
    async def fails_later(self):
        yield "first"
        raise ValueError("mine")
'''


@pytest.fixture(scope="module")
def deployment(module_project):
    module_project.write("forms.py", PROGRAM)
    with module_project.serve("forms:Web").result() as deployment:
        yield deployment


@contextmanager
def sent(url, head, body=b""):
    """A connection over which a request was sent. Small buffers, so that an answer that is not read fills them."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((host, int(port)))
        length = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if body else ""
        connection.sendall(f"{head} HTTP/1.1\r\nhost: x\r\n{length}\r\n".encode() + body)
        yield connection


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize(
    ("service", "request_line", "body", "name"),
    [
        ("Web", "GET /whole", b"", "whole"),
        ("Web", "POST /with_body", b'{"text": "x"}', "with_body"),
        ("Web", "GET /stream", b"", "stream"),
        ("Web", "GET /begun_stream", b"", "begun_stream"),
        ("Web", "GET /endless_stream", b"", "endless_stream"),
        ("Web", "GET /response", b"", "response"),
        ("Web", "GET /named/x", b"", "named"),
        ("Web", "GET /call", b"", "backend"),
        ("Routes", "GET /behind_middleware", b"", "behind_middleware"),
        ("Routes", "GET /route", b"", "route"),
        ("Routes", "POST /route_with_body", b"x" * 300_000, "route_with_body"),
        ("Routes", "GET /route_stream", b"", "route_stream"),
        ("Routes", "GET /included", b"", "included"),
        ("Routes", "GET /mounted/route", b"", "mounted"),
    ],
)
def test_the_work_for_a_client_that_goes_away_is_cancelled(deployment, service, request_line, body, name, how):
    states = getattr(deployment, "Backend" if name == "backend" else service)
    count = states.seen(f"{name} began").result() + 1
    with sent(deployment.urls[service], request_line, body) as connection:
        states.until(f"{name} began", count).using(timeout=BOUND).result()
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    states.until(f"{name} cancelled", count).using(timeout=BOUND).result()


def test_a_client_that_goes_away_while_it_sends_its_body(deployment):
    with sent(deployment.urls["Routes"], "POST /route_reading", b"x") as connection:
        pass
    with socket.create_connection(connection_address(deployment.urls["Routes"])) as connection:
        connection.sendall(b"POST /route_reading HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nxx")
        deployment.Routes.until("route_reading began", 2).using(timeout=BOUND).result()
    deployment.Routes.until("route_reading cancelled", 1).using(timeout=BOUND).result()


def connection_address(url):
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def test_background_tasks_of_a_complete_answer_go_on(deployment):
    with sent(deployment.urls["Routes"], "GET /route_background") as connection:
        connection.settimeout(BOUND)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        deployment.Routes.until("background began", 1).using(timeout=BOUND).result()
    deployment.Routes.open_gate("background").result()
    deployment.Routes.until("background finished", 1).using(timeout=BOUND).result()


def counts(deployment, endpoint):
    """The counts of an endpoint of Web, over all workers."""
    workers = deployment.metrics().result()["services"]["Web"]["workers"]
    readings = [endpoints[endpoint] for endpoints in workers.values()]
    (reading,) = readings
    errors, stopped = reading["errors"], reading["stopped"]
    return reading | {"errors": sum(errors.values()), "stopped": sum(stopped.values()), "codes": {**errors, **stopped}}


async def settled(deployment, endpoint, ended):
    """The counts, once this many requests have ended: a client has its answer a moment before."""
    async with asyncio.timeout(BOUND):
        while True:
            now = await asyncio.to_thread(counts, deployment, endpoint)
            if now["seconds"]["count"] + now["stopped"] >= ended:
                return now
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("request_line", "body", "endpoint", "status", "items", "code"),
    [
        ("POST /say", {"text": "abc"}, "say", 200, 0, ""),
        ("POST /say", {}, "say", 422, 0, "invalid_argument"),
        ("POST /words", {"text": "a b c"}, "words", 200, 3, ""),
        ("GET /synchronous", None, "synchronous", 200, 0, ""),
        ("GET /v1/items/x", None, "item", 200, 0, ""),
        ("GET /fails", None, "fails", 500, 0, "endpoint"),
        ("GET /refuses", None, "refuses", 404, 0, "endpoint"),
        ("GET /fails_later", None, "fails_later", 200, 1, "endpoint"),
    ],
)
def test_a_request_over_http_is_counted_and_traced(deployment, request_line, body, endpoint, status, items, code):
    before, trace = counts(deployment, endpoint), new_trace()
    method, _, path = request_line.partition(" ")
    content = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", TRACED: trace}
    seen = 0
    try:
        with httpx.stream(method, deployment.urls["Web"] + path, content=content, headers=headers) as answer:
            seen = answer.status_code
            answer.read()
    except httpx.RemoteProtocolError:
        assert endpoint == "fails_later"
    assert seen == status

    ended = before["seconds"]["count"] + before["stopped"] + 1
    after = portal.run(settled(deployment, endpoint, ended), BOUND)
    assert after["requests"] == before["requests"] + 1
    assert after["in_flight"] == 0
    assert after["items"] == before["items"] + items
    assert after["codes"].get(code, 0) == before["codes"].get(code, 0) + (code != "")
    assert after["errors"] == before["errors"] + (code != "")
    assert after["first_item_seconds"]["count"] == before["first_item_seconds"]["count"] + (items > 0)
    if status != 500:  # that answer is the application's, not the endpoint's
        assert after["bytes"]["out"] > before["bytes"]["out"]
    assert after["bytes"]["in"] == before["bytes"]["in"] + len(content or b"")

    spans = portal.run(deployment._connection.request("trace", trace=trace), BOUND)
    (server,) = [span for span in spans if span["path"] == f"Web/{endpoint}"]
    assert (server["kind"], server["error"], server["items"]) == ("server", code, items)
    if endpoint == "say" and not code:
        assert server["notes"] == {"length": 3}
        assert {(span["path"], span["kind"]) for span in spans} == {
            ("Web/say", "server"),
            ("Backend/say", "client"),
            ("Backend/say", "server"),
        }
        (client,) = [span for span in spans if span["kind"] == "client"]
        assert client["parent"] == server["id"]


def test_an_abandoned_request_is_counted_as_such(deployment):
    before = counts(deployment, "whole")
    with sent(deployment.urls["Web"], "GET /whole"):
        deployment.Web.until("whole began", before["requests"] + 1).using(timeout=BOUND).result()
        assert counts(deployment, "whole")["in_flight"] == 1
    after = portal.run(settled(deployment, "whole", before["requests"] + 1), BOUND)
    assert after["in_flight"] == 0
    assert after["codes"] == {"caller_gone": before["requests"] + 1}
