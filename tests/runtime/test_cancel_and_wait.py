import asyncio

import pytest

from dynamo_nb.runtime import cancellation
from dynamo_nb.runtime.cancellation import cancel_and_wait


async def ignores(count):
    """Continues after some cancellations."""
    for _ in range(count):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
    await asyncio.Event().wait()


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_a_task_that_ignores_cancellations_is_ended(count, monkeypatch):
    monkeypatch.setattr(cancellation, "RETRY_AFTER", 0.01)
    others = [asyncio.create_task(ignores(0)), asyncio.create_task(ignores(count))]
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await cancel_and_wait(*others)
    assert all(task.cancelled() for task in others)


async def test_cancel_and_wait_waits_for_cleanup_and_raises_no_errors():
    done = []

    async def works():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            done.append("worked")

    async def fails():
        raise ValueError

    tasks = [asyncio.create_task(works()), asyncio.create_task(fails())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await cancel_and_wait(*tasks)
    assert done == ["worked"]
    assert isinstance(tasks[1].exception(), ValueError)
    await cancel_and_wait()


async def test_a_runtime_closes_although_nats_ignores_a_cancellation(connect, space):
    runtime = await connect()
    flushing = asyncio.Event()

    async def flush(timeout):
        flushing.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    runtime.nats.flush = flush
    await runtime.namespace(space).component("C").endpoint("e").client()
    [watch] = runtime.discovery._running()
    watch._known["gone"] = (runtime.instance(space, "C", ("e",), {}), b"", 0.0)  # expired long ago
    await flushing.wait()
    async with asyncio.timeout(20):
        await runtime.close()
