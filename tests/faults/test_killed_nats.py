"""SIGKILL of the embedded NATS server: its supervisor starts it again, and calls go on meanwhile."""

import os
import signal
import time
from contextlib import suppress

import psutil
import pytest
from load import Load, until, workers

from dynamo_nb.errors import ConnectError

pytestmark = pytest.mark.slow

RECONNECTED = 5.0  # seconds in which everybody is back once the server is; half a second as a rule


def server_of(deployment):
    """The server's process, once it runs."""
    for child in psutil.Process(deployment.status.pid).children():
        with suppress(psutil.NoSuchProcess):
            if child.name() == "nats-server":
                return child
    return None


@pytest.mark.parametrize("down", [0, 30])
async def test_no_call_fails_and_everybody_comes_back(serve, connect, figures, down):
    deployment = await serve()
    url = deployment._access.nats_url
    await deployment.Backend.pid()
    server = server_of(deployment)

    async def call():
        await deployment.Frontend.pid()
        await deployment.Backend.pid()

    async with Load(call) as load:
        killed = time.monotonic()
        if down:
            os.kill(deployment.status.pid, signal.SIGSTOP)
        try:
            server.kill()
            if down:
                await until(lambda: time.monotonic() > killed + down, down + 5)
        finally:
            os.kill(deployment.status.pid, signal.SIGCONT)
        await until(lambda: (found := server_of(deployment)) and found.pid != server.pid)

        newcomer = await connected(connect, url)
        client = await newcomer.namespace("default").component("Backend").endpoint("pid").client()
        await client.wait_for_instances(timeout=30, count=2)
        back = time.monotonic() - killed - down
        await client.call()
        await load.goes_on(100)
        # The control plane is whole: a new worker registers, and is found.
        await deployment.scale(Backend=3)
        await client.wait_for_instances(timeout=30, count=3)
    figures(down_s=down, everybody_back_s=round(back, 2), **load.figures())
    assert load.failed == []
    assert back < 5 * RECONNECTED
    assert deployment._access.nats_url == url
    assert len(workers(deployment)) == 3


async def connected(connect, url):
    """A runtime, once the server answers."""
    for _ in range(100):
        try:
            return await connect(url)
        except ConnectError as error:
            last = error
    raise last


async def test_it_is_killed_again_and_again(serve, connect, figures):
    deployment = await serve()
    times = []
    async with Load(lambda: deployment.Frontend.pid()) as load:
        for _ in range(5):
            server = server_of(deployment)
            server.kill()
            killed = time.monotonic()
            await until(lambda server=server: (found := server_of(deployment)) and found.pid != server.pid)
            times.append(time.monotonic() - killed)
            await load.goes_on()
    log = (deployment.folder / "logs" / "supervisor.log").read_text()
    figures(started_again_s=[round(seconds, 2) for seconds in times], **load.figures())
    assert load.failed == []
    assert log.count("the embedded NATS server has ended") == 1  # told once, since it never ran for long
    await connected(connect, deployment._access.nats_url)
