"""SIGKILL of the embedded NATS server: its supervisor restarts it, and calls continue meanwhile."""

import os
import signal
import time
from contextlib import suppress

import psutil
import pytest
from load import Load, until, workers

from dynamo_nb.errors import ConnectError

pytestmark = pytest.mark.slow

RECONNECTED = 5.0  # seconds in which all processes reconnect; usually half a second


def server_of(deployment):
    """Returns the server's process, or None before it runs."""
    for child in psutil.Process(deployment.status.pid).children():
        with suppress(psutil.NoSuchProcess):
            if child.name() == "nats-server":
                return child
    return None


@pytest.mark.parametrize("down", [0, 30])
async def test_no_call_fails_and_all_processes_reconnect(serve, connect, figures, down):
    deployment = await serve()
    url = deployment.access.nats_url
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

        newcomer = await connect_to(connect, url)
        client = await newcomer.namespace("default").component("Backend").endpoint("pid").client()
        await client.wait_for_instances(timeout=30, count=2)
        back = time.monotonic() - killed - down
        await client.call()
        await load.continues(100)
        # Discovery works again: a new worker registers and is found.
        await deployment.scale(Backend=3)
        await client.wait_for_instances(timeout=30, count=3)
    figures(down_s=down, all_reconnected_s=round(back, 2), **load.figures())
    assert load.failed == []
    assert back < 5 * RECONNECTED
    assert deployment.access.nats_url == url
    assert len(workers(deployment)) == 3


async def connect_to(connect, url):
    """Connects a runtime as soon as the server answers."""
    for _ in range(100):
        try:
            return await connect(url)
        except ConnectError as error:
            last = error
    raise last


async def test_calls_continue_through_five_kills(serve, connect, figures):
    deployment = await serve()
    times = []
    async with Load(lambda: deployment.Frontend.pid()) as load:
        for _ in range(5):
            server = server_of(deployment)
            server.kill()
            killed = time.monotonic()
            await until(lambda server=server: (found := server_of(deployment)) and found.pid != server.pid)
            times.append(time.monotonic() - killed)
            await load.continues()
    log = (deployment.folder / "logs" / "supervisor.log").read_text()
    figures(restarted_s=[round(seconds, 2) for seconds in times], **load.figures())
    assert load.failed == []
    assert log.count("the embedded NATS server ended") == 1  # reported once, because it never ran for long
    await connect_to(connect, deployment.access.nats_url)
