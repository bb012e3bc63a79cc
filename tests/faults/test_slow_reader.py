"""A slow reader of a stream of 10 GB, which is not stored."""

import asyncio
import time

import psutil
import pytest
from load import until, workers

from dynamo_nb.runtime.wire import WINDOW

pytestmark = [pytest.mark.slow, pytest.mark.alone]

SIZE, CHUNKS = 1_000_000, 10_000
MEMORY = 64 * 2**20  # additional bytes that the worker may need
MEASURED = 1.0  # seconds over which a rate is measured
SLACK = 5


class Reader:
    """Counts the bytes of a stream as they arrive."""

    def __init__(self, items):
        self._items, self.count = items, 0
        self._task = asyncio.create_task(self._read())

    async def _read(self):
        async for item in self._items:
            self.count += len(item)

    async def close(self):
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._items.aclose()


async def rate_of(readers):
    """Returns the total rate of the readers, in megabytes per second."""
    start, before = time.monotonic(), sum(reader.count for reader in readers)
    await until(lambda: time.monotonic() > start + MEASURED)
    return (sum(reader.count for reader in readers) - before) / (time.monotonic() - start) / 1e6


async def test_a_slow_reader_costs_the_worker_one_window_and_other_streams_nothing(serve, figures):
    deployment = await serve("Backend", {"Backend.ServiceArgs.workers": 1})
    backend = deployment.Backend
    worker = psutil.Process(workers(deployment)[0].pid)
    others = [Reader(aiter(backend.chunks("other", CHUNKS * 100, 10_000))) for _ in range(4)]
    await until(lambda: all(reader.count for reader in others))
    await backend.release_memory()
    before, memory = await rate_of(others), worker.memory_full_info().pss

    slow = aiter(backend.chunks("slow", CHUNKS, SIZE))
    for _ in range(3):
        assert len(await anext(slow)) == SIZE
    peak = 0
    during = []
    for _ in range(2):
        during.append(await rate_of(others))
        peak = max(peak, worker.memory_full_info().pss)
    produced = await backend.chunks_produced("slow")
    for _ in range(100):  # the stream continues where it paused
        assert len(await anext(slow)) == SIZE
    await slow.aclose()
    for reader in others:
        await reader.close()
    figures(
        rate_before_mb_s=round(before, 1),
        rate_during_mb_s=[round(rate, 1) for rate in during],
        memory_before_mb=round(memory / 2**20, 1),
        memory_growth_mb=round((peak - memory) / 2**20, 1),
        chunks_produced=produced,
    )
    assert peak < memory + MEMORY
    assert produced * SIZE < 3 * SIZE + WINDOW + 2 * SIZE
    assert min(during) > before / SLACK
