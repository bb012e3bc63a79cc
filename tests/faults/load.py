"""A bounded load of calls with their outcomes, and how a test waits for a condition."""

import asyncio
import statistics
import time
from dataclasses import dataclass

MOST_CALLS = 500_000  # that one load records


@dataclass(frozen=True)
class Outcome:
    """One call. start: time of `time.monotonic`. answer, error: one of the two is None."""

    start: float
    seconds: float
    answer: object
    error: Exception | None


class Load:
    """Callers that repeat a call until the block ends, or for at most `bound` seconds.

    call: takes no arguments, returns an awaitable. pause: seconds between two calls of one caller.
    """

    def __init__(self, call, callers=4, bound=100.0, pause=0.002):
        self._call, self._callers, self._bound, self._pause = call, callers, bound, pause
        self.calls = []
        self._stopped = False

    async def __aenter__(self):
        self._end = time.monotonic() + self._bound
        self._tasks = [asyncio.create_task(self._caller()) for _ in range(self._callers)]
        await self.continues()
        return self

    async def __aexit__(self, *_):
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def _caller(self):
        while not self._stopped and time.monotonic() < self._end and len(self.calls) < MOST_CALLS:
            start, answer, error = time.monotonic(), None, None
            try:
                answer = await self._call()
            except Exception as raised:
                error = raised
            self.calls.append(Outcome(start, time.monotonic() - start, answer, error))
            await asyncio.sleep(self._pause)

    @property
    def failed(self):
        return [call for call in self.calls if call.error is not None]

    async def continues(self, count=20):
        """Waits until further calls, started from now on, are answered."""
        now, seen = time.monotonic(), len(self.calls)
        await until(lambda: sum(c.start > now and c.error is None for c in self.calls[seen:]) >= count)

    def figures(self):
        times = [call.seconds for call in self.calls]
        return {
            "calls": len(self.calls),
            "failed": len(self.failed),
            "median_ms": round(1e3 * statistics.median(times), 2),
            "longest_ms": round(1e3 * max(times), 1),
        }


async def until(condition, bound=30.0):
    """Polls a condition without an event, such as the end of a foreign process. Returns its true value."""
    end = time.monotonic() + bound
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not become true"
        await asyncio.sleep(0.005)
    return value


def workers(deployment, service="Backend"):
    """Returns the ready workers of a service, by index."""
    found = deployment.status.services[service].workers
    return {worker.index: worker for worker in found if worker.state == "ready"}
