"""Faults of an endpoint: what it can do to its own worker."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from load import Load, until, workers

from dynamo_nb.errors import EndpointError, WorkerLost

pytestmark = pytest.mark.slow

HANG = 4.5  # seconds, more than the lease: a blocked worker first gets no more requests, then it is replaced


def worker_log(deployment):
    return Path(deployment.folder, "logs", "Backend.0.log").read_text()


@pytest.fixture
async def alone(serve):
    """A deployment with one worker of Backend."""
    return await serve("Backend", {"Backend.ServiceArgs.workers": 1}, hang=HANG, grace=5)


@pytest.mark.parametrize(
    ("how", "kind"), [("exception", "ValueError"), ("exit", "SystemExit"), ("memory", "MemoryError")]
)
async def test_an_exception_is_an_error_of_the_caller_and_the_worker_continues(alone, how, kind):
    pid = await alone.Backend.pid()
    others = [asyncio.ensure_future(alone.Backend.pid(0.3)) for _ in range(5)]
    with pytest.raises(EndpointError, match=f"^{kind}: ") as caught:
        await alone.Backend.fail(how)
    assert caught.value.kind == kind
    assert "in fail" in caught.value.traceback
    assert await asyncio.gather(*others) == [pid] * 5
    assert await alone.Backend.pid() == pid
    assert workers(alone)[0].restarts == 0


@pytest.mark.parametrize(
    ("how", "logged"), [("segmentation fault", "Fatal Python error: Segmentation fault"), ("_exit", "")]
)
async def test_the_end_of_the_process_is_an_error_at_once_and_the_worker_is_replaced(alone, figures, how, logged):
    pid, start = await alone.Backend.pid(), time.monotonic()
    with pytest.raises(WorkerLost, match="ended before its answer was complete") as caught:
        await alone.Backend.fail(how)
    noticed = time.monotonic() - start
    assert "`dynamo logs Backend` shows why" in caught.value.remedy
    assert await alone.Backend.pid() != pid
    figures(noticed_s=round(noticed, 3), next_answer_s=round(time.monotonic() - start, 2))
    assert logged in worker_log(alone)
    assert not logged or "in fail" in worker_log(alone)
    assert "ended by itself" in (alone.folder / "logs" / "supervisor.log").read_text()


@pytest.mark.parametrize("how", ["cancels all tasks", "cancels the heartbeats", "cancels the commands"])
async def test_a_worker_whose_own_tasks_were_cancelled_is_replaced(alone, how):
    pid = await alone.Backend.pid()
    await alone.Backend.fail(how)
    await until(lambda: pid not in {worker.pid for worker in workers(alone).values()})
    assert await alone.Backend.pid() != pid
    assert "tasks of the worker itself were cancelled" in (alone.folder / "logs" / "supervisor.log").read_text()


@pytest.mark.parametrize(("how", "kernels"), [("loop", True), ("C code", False)])
async def test_a_worker_with_a_blocked_loop_is_skipped_then_replaced_and_its_stack_is_logged(
    serve, connect, figures, how, kernels
):
    deployment = await serve("Backend", hang=HANG, kernels=kernels)
    runtime = await connect(deployment.access.nats_url)
    client = await runtime.namespace("default").component("Backend").endpoint("fail").client()
    pids = {worker.pid for worker in workers(deployment).values()}
    instances = await client.wait_for_instances(count=2)
    start = time.monotonic()
    hanging = asyncio.ensure_future(client.call([how], instance_id=instances[0]))

    await until(lambda: client.instance_ids() == [instances[1]])
    skipped = time.monotonic() - start
    async with Load(deployment.Backend.pid, pause=0.02) as load:
        with pytest.raises(WorkerLost) as caught:
            await hanging
        ended = time.monotonic() - start
        assert "`dynamo logs Backend` shows why" in caught.value.remedy
        await until(lambda: len(pids | {w.pid for w in workers(deployment).values()}) == 3)
        await until(lambda: len(workers(deployment)) == 2)
    figures(skipped_after_s=round(skipped, 2), replaced_after_s=round(ended, 2), **load.figures())
    assert load.failed == []
    logs = "".join(path.read_text() for path in Path(deployment.folder, "logs").glob("Backend.*.log"))
    assert "in fail" in logs
    report = (deployment.folder / "logs" / "supervisor.log").read_text()
    assert f"] did not answer for {HANG:g} s: its event loop is blocked" in report
    assert "in fail" in report


async def test_silence_during_a_stop_of_the_supervisor_does_not_count(serve):
    deployment = await serve("Backend", {"Backend.ServiceArgs.workers": 1}, hang=3)
    pid, supervisor = await deployment.Backend.pid(), deployment.status.pid
    for each in (supervisor, pid):
        os.kill(each, signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        await until(lambda: time.monotonic() > stopped + 4)
    finally:
        for each in (supervisor, pid):
            os.kill(each, signal.SIGCONT)
    assert await deployment.Backend.pid(1) == pid
    assert workers(deployment)[0].restarts == 0


@pytest.mark.parametrize(
    ("how", "message"), [("returns False", "Backend.alive returned False"), ("raises", "the engine is dead")]
)
async def test_an_unhealthy_worker_is_replaced_after_its_requests_have_ended(alone, how, message):
    unhealthy = await alone.Backend.become_unhealthy(how)
    assert await alone.Backend.pid(HANG) == unhealthy  # sent before the health check fails, which takes half of HANG
    assert await alone.Backend.pid() != unhealthy
    report = (alone.folder / "logs" / "supervisor.log").read_text()
    assert "Backend[0] was unhealthy 3 times in a row: Backend.alive" in report
    assert message in report
