"""`traffic.timeout` and `traffic.keep_alive` of a service, from every place of configuration."""

import asyncio

import httpx
import pytest

from dynamo_nb.errors import DeadlineExceeded
from dynamo_nb.sdk.portal import portal
from dynamo_nb.worker.launch import KEEP_ALIVE

pytestmark = pytest.mark.slow

BOUND = 20.0

PROGRAM = """
import asyncio

from fastapi import FastAPI

from dynamo_nb import depends, dynamo_api, dynamo_endpoint, service

app = FastAPI()


@app.get("/route")
async def route():
    await asyncio.Event().wait()


class Slow:
    def __init__(self):
        self.cancelled = asyncio.Event()

    @dynamo_endpoint()
    async def until_cancelled(self) -> None:
        await self.cancelled.wait()
        self.cancelled.clear()

    async def forever(self):
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


class SlowEndpoints(Slow):
    @dynamo_endpoint()
    async def called(self) -> None:
        await self.forever()

    @dynamo_endpoint()
    async def items(self):
        yield 1
        await self.forever()


@service(traffic={"timeout": 0.2})
class Backend(SlowEndpoints):
    pass


@service(app=app)
class Web(SlowEndpoints):
    backend = depends(Backend)
    unlimited = depends("Unlimited")

    @dynamo_api(http_method="GET")
    async def whole(self):
        await self.forever()

    @dynamo_api(http_method="GET")
    async def stream(self):
        await self.forever()
        yield "never"

    @dynamo_api(http_method="GET")
    async def begun_stream(self):
        yield "first"
        await self.forever()

    @dynamo_api(http_method="GET")
    async def in_time(self):
        return "x"


@service
class Unlimited:
    backend = depends(Backend)

    @dynamo_api(http_method="GET")
    async def call(self):
        await self.backend.called()

    @dynamo_api(http_method="GET")
    async def in_time(self):
        return "x"
"""

FILE = "Web: {ServiceArgs: {traffic: {timeout: 0.2}}}"


@pytest.fixture(scope="module")
def deployment(module_project):
    module_project.write("slow.py", PROGRAM)
    module_project.write("slow.yaml", FILE)
    args = ["--Web.ServiceArgs.traffic.keep_alive=0.05"]
    with module_project.serve("slow:Web", "slow.yaml", args=args).result() as deployment:
        yield deployment


@pytest.mark.parametrize("path", ["whole", "stream", "route"])
def test_a_late_answer_over_http_is_504_and_its_work_is_cancelled(deployment, path):
    answer = httpx.get(f"{deployment.urls['Web']}/{path}", timeout=BOUND)
    assert (answer.status_code, answer.json()["error"]["type"]) == (504, "DeadlineExceeded")
    assert f"/{path} was not answered within 0.2 s" in answer.json()["error"]["message"]
    if path != "route":
        deployment.Web.until_cancelled().using(timeout=BOUND).result()


def test_a_late_stream_over_http_is_cut(deployment):
    with httpx.stream("GET", f"{deployment.urls['Web']}/begun_stream", timeout=BOUND) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            answer.read()
    deployment.Web.until_cancelled().using(timeout=BOUND).result()


@pytest.mark.parametrize("endpoint", ["called", "items"])
@pytest.mark.parametrize("service", ["Backend", "Web"])
def test_a_late_answer_to_a_call_is_an_error_of_its_caller(deployment, service, endpoint):
    with pytest.raises(DeadlineExceeded):
        getattr(getattr(deployment, service), endpoint)().result()
    getattr(deployment, service).until_cancelled().using(timeout=0.2).result()


def test_the_deadline_of_a_call_is_504_for_the_client_of_its_caller(deployment):
    answer = httpx.get(f"{deployment.urls['Unlimited']}/call", timeout=BOUND)
    assert (answer.status_code, answer.json()["error"]["type"]) == (504, "DeadlineExceeded")


def test_an_unused_connection_is_closed_after_keep_alive(deployment):
    async def ask(url):
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /in_time HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b'"x"')
        return reader, writer

    async def main():
        other, other_writer = await ask(deployment.urls["Unlimited"])
        reader, writer = await ask(deployment.urls["Web"])
        assert await reader.read() == b""  # it is closed
        assert not other.at_eof()
        writer.close()
        other_writer.close()

    portal.run(main(), BOUND)


def test_unused_connections_are_kept_longer_than_proxies_keep_theirs():
    assert KEEP_ALIVE > 60  # of nginx, and of most load balancers
