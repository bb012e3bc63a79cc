"""10,000 calls at once."""

import asyncio
import ctypes
import gc
import time

import psutil
import pytest
from load import workers

pytestmark = [pytest.mark.slow, pytest.mark.alone]

CALLS = 10_000
WARM_UP, ROUNDS = 2, 3
TEXT = "x" * 200
GROWTH = 0.10  # allowed share of additional memory


def proportional_memory(pid):
    return psutil.Process(pid).memory_full_info().pss


async def test_all_calls_are_answered_and_their_memory_is_released(serve, figures):
    deployment = await serve("Backend")
    backend = deployment.Backend
    pids = [worker.pid for worker in workers(deployment).values()]

    async def one(n):
        return await backend.echo(f"{n} {TEXT}")

    async def all_at_once():
        return await asyncio.gather(*(one(n) for n in range(CALLS)))

    async def memory():
        """Returns the memory of this process and of the workers, after unused memory was released."""
        for _ in pids:
            await backend.release_memory()  # the workers in turn
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        return [proportional_memory(pid) for pid in [psutil.Process().pid, *pids]]

    for _ in range(WARM_UP):
        await all_at_once()
    before, seconds, later = await memory(), [], []
    for _ in range(ROUNDS):
        start = time.monotonic()
        answers = await all_at_once()
        seconds.append(round(time.monotonic() - start, 2))
        full = [proportional_memory(pid) for pid in [psutil.Process().pid, *pids]]
        assert answers == [f"{n} {TEXT}" for n in range(CALLS)]
        del answers
        later.append(await memory())
    # Python's allocator releases only whole arenas: sometimes a few MB remain for a while.
    after = [min(sizes) for sizes in zip(*later[1:], strict=True)]
    figures(
        calls=CALLS,
        seconds=seconds,
        memory_mb=[
            f"{round(a / 2**20, 1)} -> {round(f / 2**20, 1)} -> {round(b / 2**20, 1)}"
            for a, f, b in zip(before, full, after, strict=True)
        ],
    )
    for first, last in zip(before, after, strict=True):
        assert last < first * (1 + GROWTH)
