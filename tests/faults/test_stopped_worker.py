"""SIGSTOP of a worker, and SIGCONT: it is there, and says nothing."""

import asyncio
import os
import signal
import time

import pytest
from load import Load, until, workers

from dynamo_nb.errors import DeadlineExceeded
from dynamo_nb.runtime import request_scope

pytestmark = pytest.mark.slow

LEASE = 3.0  # seconds, as deployments have it
PATIENCE = 0.3  # seconds that a call may take


async def test_it_leaves_the_rotation_within_the_lease_and_comes_back_once(serve, connect, figures):
    deployment = await serve("Backend")
    runtime = await connect(deployment._access.nats_url)
    client = await runtime.namespace("default").component("Backend").endpoint("pid").client()
    before = await client.wait_for_instances(count=2)
    victim = workers(deployment)[0].pid

    async def call():
        with request_scope(timeout=PATIENCE):
            return await client.call()

    async with Load(call) as load:
        changes, stopped, seen = client.selection.watch.version, time.monotonic(), len(load.calls)
        os.kill(victim, signal.SIGSTOP)
        try:
            await until(lambda: len(client.instance_ids()) == 1)
            left = time.monotonic() - stopped
            await load.goes_on(100)
            assert len(client.instance_ids()) == 1
        finally:
            os.kill(victim, signal.SIGCONT)
        continued = time.monotonic()
        await until(lambda: any(c.answer == victim and c.begun > continued for c in load.calls[-200:]))
        back = time.monotonic() - continued
        await load.goes_on(100)
    figures(out_of_rotation_s=round(left, 2), back_s=round(back, 2), **load.figures())
    assert left < 5 * LEASE
    assert {type(call.error) for call in load.failed} == {DeadlineExceeded}
    assert all(call.begun < stopped + left for call in load.failed)
    assert max(call.seconds for call in load.calls[seen:]) < 5 * PATIENCE
    assert sorted(client.instance_ids()) == sorted(before)
    assert client.selection.watch.version == changes + 2  # it went once, and came back once
    assert [worker.pid for worker in workers(deployment).values()].count(victim) == 1


async def test_what_it_was_asked_before_is_answered_when_it_goes_on(serve, connect):
    deployment = await serve("Backend", {"Backend.ServiceArgs.workers": 1})
    runtime = await connect(deployment._access.nats_url)
    client = await runtime.namespace("default").component("Backend").endpoint("pid").client()
    await client.wait_for_instances()
    victim = await client.call()
    os.kill(victim, signal.SIGSTOP)
    try:
        answers = [asyncio.ensure_future(client.call()) for _ in range(100)]
        await until(lambda: runtime.connections.get(client.instances[0]).in_flight == 100)
    finally:
        os.kill(victim, signal.SIGCONT)
    assert await asyncio.gather(*answers) == [victim] * 100
