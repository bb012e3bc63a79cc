"""HTTP requests that go on while the workers that answer them are replaced: none fails."""

import asyncio
import os
import signal
import socket
from collections import Counter

import httpx
import pytest
from deployed_program import until, workers

from dynamo_nb.errors import DynamoError
from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

BOUND = 90.0
ROUNDS = 3
CLIENTS = 2  # of each kind
ITEMS = 4
KINDS = [(path, kept) for path in ("whole", "items") for kept in (True, False)]

WEB = """
import asyncio

from dynamo_nb import async_on_start, dynamo_api, service


@service(workers=2)
class Web:
    def __init__(self, mark: str = "", fault: bool = False):
        self.mark, self.fault = mark, fault

    @async_on_start
    async def load(self):
        if self.fault:
            raise RuntimeError("no weights here")

    @dynamo_api(http_method="GET")
    async def whole(self):
        return self.mark

    @dynamo_api(http_method="GET")
    async def items(self):
        for number in range(4):
            yield f"{number}\\n"
            await asyncio.sleep(0.005)
"""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Load:
    """Clients that send one request after the other, over kept connections and over a new one each time."""

    def __init__(self, url):
        self.url, self.answered, self.failed = url, Counter(), []
        self._stopping, self._changed = False, asyncio.Event()

    async def run(self):
        await asyncio.gather(*(self._client(*kind) for kind in KINDS * CLIENTS))

    def stop(self):
        self._stopping = True

    async def _client(self, path, kept):
        limits = httpx.Limits(max_keepalive_connections=None if kept else 0)
        async with httpx.AsyncClient(limits=limits, timeout=30) as client:
            while not self._stopping:
                try:
                    answer = await client.get(f"{self.url}/{path}")
                    answer.raise_for_status()
                    assert path == "whole" or len(answer.text.split()) == ITEMS
                except Exception as error:
                    self.failed.append(f"{path}, {'kept' if kept else 'new'}: {error!r}")
                else:
                    self.answered[path, kept] += 1
                self._changed.set()

    async def answers(self, count):
        """Returns when every kind of client has received this many more answers."""
        goal = {kind: self.answered[kind] + count for kind in KINDS}
        async with asyncio.timeout(BOUND):
            while any(self.answered[kind] < number for kind, number in goal.items()) and not self.failed:
                self._changed.clear()
                await self._changed.wait()


async def replaced(deployment, number):
    await deployment.update({"Web.mark": str(number)})


async def restarted(deployment, number):
    await deployment.restart("Web")


async def scaled_down(deployment, number):
    await deployment.scale(Web=3)
    await deployment.scale(Web=1)


async def replaced_in_vain(deployment, number):
    with pytest.raises(DynamoError, match="no weights here"):
        await deployment.update({"Web.fault": True})


async def terminated(deployment, number):
    """A worker receives SIGTERM, as from a person or a node that drains."""
    old = workers(deployment, "Web")[0]
    os.kill(old.pid, signal.SIGTERM)
    await asyncio.to_thread(until, lambda: (new := workers(deployment, "Web").get(0)) is not None and new.id != old.id)


@pytest.mark.parametrize(
    ("change", "count", "given", "kernels"),
    [
        (replaced, 2, False, False),
        (replaced, 1, True, True),
        (restarted, 1, False, False),
        (scaled_down, 3, True, False),
        (replaced_in_vain, 2, False, False),
        (terminated, 2, True, False),
        (terminated, 1, False, True),
    ],
    ids=[
        "replaced",
        "one kernel replaced",
        "restarted",
        "scaled down",
        "replaced in vain",
        "SIGTERM to one of two",
        "SIGTERM to the only kernel",
    ],
)
def test_no_http_request_fails_while_its_service_is(project, change, count, given, kernels, figures):
    project.write("web.py", WEB)
    port = free_port() if given else 0
    args = [f"--Web.ServiceArgs.workers={count}"]
    with project.serve("web:Web", args=args, http_port=port, kernels=kernels).result() as deployment:

        async def main():
            load = Load(deployment.urls["Web"])
            running = asyncio.ensure_future(load.run())
            for number in range(ROUNDS):
                await load.answers(10)
                await change(deployment, number)
            await load.answers(10)
            load.stop()
            await running
            return load

        load = portal.run(main(), BOUND)
        assert load.failed == []
        assert deployment.urls["Web"] == load.url
        figures(answered=load.answered.total(), failed=len(load.failed))


@pytest.mark.parametrize("given", [False, True])
def test_a_service_without_workers_refuses_connections_and_keeps_its_port(project, given):
    project.write("web.py", WEB)
    port = free_port() if given else 0
    with project.serve("web:Web", http_port=port).result() as deployment:
        url = deployment.urls["Web"]
        for _ in range(2):
            deployment.scale(Web=0).result()
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{url}/whole")
            deployment.scale(Web=2).result()
            assert httpx.get(f"{url}/whole").status_code == 200
        assert deployment.urls["Web"] == url


def test_connections_wait_for_the_worker_that_takes_the_place_of_a_killed_one(project):
    project.write("web.py", WEB)
    with project.serve("web:Web", args=["--Web.ServiceArgs.workers=1"]).result() as deployment:
        os.kill(workers(deployment, "Web")[0].pid, signal.SIGKILL)
        until(lambda: not workers(deployment, "Web"))
        assert httpx.get(f"{deployment.urls['Web']}/whole", timeout=30).status_code == 200
