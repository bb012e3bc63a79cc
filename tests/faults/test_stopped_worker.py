"""SIGSTOP of a worker, then SIGCONT: it exists, and is silent."""

import asyncio
import os
import signal
import time

import pytest
from load import Load, until, workers

from dynamo_nb.errors import DeadlineExceeded
from dynamo_nb.runtime import request_scope

pytestmark = [pytest.mark.slow, pytest.mark.alone]

LEASE = 3.0  # seconds, the lease of deployments
TIMEOUT = 0.3  # seconds that a call may take


async def test_a_stopped_worker_is_removed_within_its_lease_and_returns_once(serve, connect, figures):
    deployment = await serve("Backend")
    runtime = await connect(deployment.access.nats_url)
    client = await runtime.namespace("default").component("Backend").endpoint("pid").client()
    before = await client.wait_for_instances(count=2)
    victim = workers(deployment)[0].pid

    async def call():
        with request_scope(timeout=TIMEOUT):
            return await client.call()

    async with Load(call) as load:
        changes, stopped, seen = client.selection.watch.version, time.monotonic(), len(load.calls)
        os.kill(victim, signal.SIGSTOP)
        try:
            await until(lambda: len(client.instance_ids()) == 1)
            removed = time.monotonic() - stopped
            await load.continues(100)
            assert len(client.instance_ids()) == 1
        finally:
            os.kill(victim, signal.SIGCONT)
        continued = time.monotonic()
        await until(lambda: any(c.answer == victim and c.start > continued for c in load.calls[-200:]))
        back = time.monotonic() - continued
        await load.continues(100)
    figures(removed_after_s=round(removed, 2), back_s=round(back, 2), **load.figures())
    assert removed < 5 * LEASE
    assert {type(call.error) for call in load.failed} == {DeadlineExceeded}
    assert all(call.start < stopped + removed for call in load.failed)
    assert max(call.seconds for call in load.calls[seen:]) < 5 * TIMEOUT
    assert sorted(client.instance_ids()) == sorted(before)
    assert client.selection.watch.version == changes + 2  # removed once, added once
    assert [worker.pid for worker in workers(deployment).values()].count(victim) == 1


async def test_a_stopped_worker_answers_its_requests_when_it_continues(serve, connect):
    deployment = await serve("Backend", {"Backend.ServiceArgs.workers": 1})
    runtime = await connect(deployment.access.nats_url)
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
