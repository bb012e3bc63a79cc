"""SIGKILL of a worker."""

import asyncio
import os
import signal
import statistics
import time
from pathlib import Path

import pytest
from load import Load, until, workers

from dynamo_nb.control.status import WorkerStatus
from dynamo_nb.errors import WorkerLost
from dynamo_nb.supervisor.restarts import STABLE_AFTER

pytestmark = [pytest.mark.slow, pytest.mark.alone]

KILLS = 10
STREAMS = 4  # open at each kill: two of each worker
ENDED, REPLACED = 0.2, 2.0  # goals, in seconds
SLACK = 5


class Reader:
    """Reads an endless stream. pid: of its worker. lost: time and error of its end."""

    def __init__(self, items):
        self._items, self.pid, self.lost = items, None, None
        self._started = asyncio.Event()
        self._task = asyncio.create_task(self._read())

    async def started(self):
        await self._started.wait()

    async def _read(self):
        try:
            async for item in self._items:
                self.pid = self.pid or item
                self._started.set()
        except Exception as error:
            self.lost = time.monotonic(), error

    async def close(self):
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._items.aclose()


async def test_no_call_fails_and_the_worker_is_replaced_ten_times_in_a_row(serve, figures):
    deployment = await serve("Backend")
    backend = deployment.Backend
    ended, replaced, crashes = [], [], []
    serving_since = dict.fromkeys(workers(deployment), time.monotonic())
    async with Load(lambda: backend.pid(0.002), callers=8) as load:
        for kill in range(KILLS):
            index = kill % 2
            victim = workers(deployment)[index].pid
            await until(lambda since=serving_since[index]: time.monotonic() - since > STABLE_AFTER)
            streams = [Reader(aiter(backend.count(0.01))) for _ in range(STREAMS)]
            await asyncio.gather(*(stream.started() for stream in streams))
            of_victim = [stream for stream in streams if stream.pid == victim]
            assert of_victim

            killed, seen = time.monotonic(), len(load.calls)
            os.kill(victim, signal.SIGKILL)

            await until(lambda of_victim=of_victim: all(stream.lost for stream in of_victim))
            for stream in of_victim:
                when, error = stream.lost
                assert isinstance(error, WorkerLost)
                ended.append(when - killed)
            old = {victim, *(stream.pid for stream in streams)}
            newer = await until(
                lambda seen=seen, old=old: next((c for c in load.calls[seen:] if c.answer not in {*old, None}), None)
            )
            replaced.append(newer.start + newer.seconds - killed)
            serving_since[index] = time.monotonic()
            worker = await until(lambda index=index: workers(deployment).get(index))
            assert worker.pid == newer.answer
            crashes.append(worker.crashes)
            assert [stream.lost for stream in streams if stream.pid != victim] == [None] * (STREAMS - len(of_victim))
            await asyncio.gather(*(stream.close() for stream in streams))
    figures(
        kills=KILLS,
        streams_ended_ms=f"median {1e3 * statistics.median(ended):.1f}, worst {1e3 * max(ended):.1f}",
        replaced_s=f"median {statistics.median(replaced):.2f}, worst {max(replaced):.2f}",
        **load.figures(),
    )
    assert load.failed == []
    assert max(ended) < SLACK * ENDED
    assert max(replaced) < SLACK * REPLACED
    assert crashes == [1] * KILLS  # each crash counts by itself, so that the pause before the restart is the shortest


async def test_a_worker_that_crashes_repeatedly_is_reported_once(serve, tmp_path, figures):
    broken = tmp_path / "broken"
    deployment = await serve("Backend", {"Backend.broken": broken, "Backend.ServiceArgs.workers": 1})
    log = Path(deployment.folder, "logs", "supervisor.log")

    def worker():
        none = WorkerStatus(id="", index=0, state="stopped")
        return (deployment.status.services["Backend"].workers or [none])[0]

    broken.touch()
    await until(lambda: worker().restarts >= 4)
    error = await until(lambda: worker().error)
    assert "with exit code 3" in error
    assert "no memory left, perhaps" in error
    text = log.read_text()
    assert text.count("is in a crash loop") == 1
    assert text.count("ended by itself, with exit code 3") == 2  # the first crash, and the report of repeated crashes
    assert text.count("last lines of its log") == 2

    broken.unlink()
    await until(lambda: worker().ready and not worker().error)
    assert "Backend[0] takes requests again" in log.read_text()
    figures(restarts=worker().restarts, reports=text.count("last lines of its log"))
