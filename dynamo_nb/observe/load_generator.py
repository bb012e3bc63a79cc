"""Makes a load of calls and measures it, in a thread and an event loop of its own, so that no other loop waits for it.

A number of callers (a closed loop) call again as soon as they have an answer, so a slow service gets fewer calls. At a
given rate (an open loop) each call starts at its scheduled time, and its latency counts from that time: the wait that a
stalled service causes for later calls is measured too.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from itertools import cycle
from time import perf_counter
from typing import Any, Final

from dynamo_nb.errors import DeploymentError, DynamoError, EndpointError
from dynamo_nb.observe.bench_result import BenchResult
from dynamo_nb.observe.latencies import Latencies
from dynamo_nb.observe.load_shape import LoadShape
from dynamo_nb.observe.measurement import Failure, Percentiles, Second
from dynamo_nb.sdk.call import Call

LAST_ANSWERS: Final = 30.0
"""Seconds that the last answers may take after the end: without them the longest latencies would be missing."""
ERROR_PAUSE: Final = 0.01
"""Seconds that a caller waits after an error. Without a worker, calls fail at once and would only use up a core."""

Calls = Callable[[], AbstractAsyncContextManager[Sequence[Call[Any]]]]
"""Opens the calls to make in turn, on the loop that makes them."""


class LoadGenerator:
    """One load.

    Everything but `_stopping` belongs to the load's own loop; other threads only read it.

    Attributes:
        target: the endpoint, such as `Frontend.generate`.
        shape: shape of the load.
        ended: the result, once the load has ended.
    """

    def __init__(self, target: str, calls: Calls, shape: LoadShape, *, stream: bool) -> None:
        self.target, self.shape = target, shape
        self.ended: Future[BenchResult] = Future()
        self._calls, self._stream = calls, stream
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event
        self._reason = ""
        self._from = self._until = self._last = math.inf
        self._left = math.inf if shape.requests is None else shape.requests
        self._waiting = self._unfinished = self._unsent = 0
        self._latency, self._first, self._between, self._late = Latencies(), Latencies(), Latencies(), Latencies()
        self._failures: dict[str, tuple[int, str]] = {}
        self._in_time = self._items = self._items_in_time = 0
        self._seconds: list[Second] = []
        self._answered_now = self._failed_now = self._items_now = 0
        self._latency_now = Latencies()

    def begin(self) -> None:
        """Starts the load."""
        self.ended.set_running_or_notify_cancel()
        threading.Thread(target=self._run, name="dynamo-bench", daemon=True).start()

    def stop(self, reason: str) -> None:
        """Ends the load with what it has measured, from any thread. Open calls are cancelled."""
        self._reason = self._reason or reason
        self._stopping.set()
        if self._loop is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._stopped.set)
            except RuntimeError:  # it closed just now
                return

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_new_loop) as runner:
                runner.run(self._make_load())
            self.ended.set_result(self.measured())
        except BaseException as error:
            self.ended.set_exception(error)

    async def _make_load(self) -> None:
        self._stopped, self._loop = asyncio.Event(), asyncio.get_running_loop()
        if self._stopping.is_set():
            self._stopped.set()
        async with self._calls() as opened:
            timeout = self.shape.timeout
            calls = opened if timeout is None else [call.using(timeout=timeout) for call in opened]
            self._from = perf_counter() + self.shape.warmup
            self._until = self._from + self.shape.seconds
            making = asyncio.create_task(self._open(calls) if self.shape.rate is not None else self._closed(calls))
            stopped = asyncio.create_task(self._stopped.wait())
            limit = None if math.isinf(self._until) else self._until - perf_counter() + LAST_ANSWERS
            await asyncio.wait([making, stopped], timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            self._last = min(perf_counter(), self._until)
            stopped.cancel()
            if not making.done():
                self._unfinished = self._waiting
                making.cancel()
            await asyncio.wait([making, stopped])
            self._close_seconds(self._last)
            if not making.cancelled():
                making.result()

    # --- making calls ------------------------------------------------------------------------------------------------

    def _may_begin(self, scheduled: float) -> bool:
        """True if a call scheduled for this time may start. A call after the warm-up is counted."""
        if scheduled >= self._until or self._reason or self._left <= 0:
            return False
        if scheduled >= self._from:
            self._left -= 1
        return True

    async def _closed(self, calls: Sequence[Call[Any]]) -> None:
        turns = cycle(calls)

        async def caller() -> None:
            while self._may_begin(begin := perf_counter()):
                if not await self._make(next(turns), begin):
                    await asyncio.sleep(ERROR_PAUSE)

        async with asyncio.TaskGroup() as group:
            for _ in range(self.shape.most_calls):
                group.create_task(caller())

    async def _open(self, calls: Sequence[Call[Any]]) -> None:
        assert self.shape.rate is not None
        turns, interval, scheduled = cycle(calls), 1 / self.shape.rate, perf_counter()
        slots, first, number = asyncio.Semaphore(self.shape.most_calls), scheduled, 0

        async def make(call: Call[Any], scheduled: float) -> None:
            try:
                await self._make(call, scheduled)
            finally:
                slots.release()

        async with asyncio.TaskGroup() as group:
            while self._may_begin(scheduled):
                if (ahead := scheduled - perf_counter()) > 0:
                    await asyncio.sleep(ahead)
                await slots.acquire()
                if perf_counter() >= self._until:
                    slots.release()
                    self._unsent = math.ceil((self._until - scheduled) / interval)
                    return
                if scheduled >= self._from:
                    self._late.add(perf_counter() - scheduled)
                group.create_task(make(next(turns), scheduled))
                number += 1
                scheduled = first + number * interval

    async def _make(self, call: Call[Any], begin: float) -> bool:
        """Makes one call and counts its outcome. Returns True if it was answered."""
        self._waiting += 1
        counted = begin >= self._from
        try:
            if self._stream:
                await self._consume(call, begin, counted)
            else:
                await call
        except Exception as error:
            if isinstance(error, DeploymentError):  # no call is possible any more
                self._reason = self._reason or error.what
            if counted:
                self._count_failure(error)
            return False
        finally:
            self._waiting -= 1
        if counted:
            self._count_answer(begin)
        return True

    async def _consume(self, call: Call[Any], begin: float, counted: bool) -> None:
        before, first = begin, True
        items = aiter(call)
        async for _ in items:
            now = perf_counter()
            if counted and getattr(items, "streamed", True):  # over HTTP, only the answer shows if it is a stream
                (self._first if first else self._between).add(now - before)
                self._close_seconds(now)
                self._items += 1
                self._items_now += 1
                self._items_in_time += now <= self._until
            before, first = now, False

    # --- counting ----------------------------------------------------------------------------------------------------

    def _count_answer(self, begin: float) -> None:
        now = perf_counter()
        self._close_seconds(now)
        self._latency.add(now - begin)
        self._latency_now.add(now - begin)
        self._answered_now += 1
        self._in_time += now <= self._until

    def _count_failure(self, error: Exception) -> None:
        self._close_seconds(perf_counter())
        self._failed_now += 1
        kind = type(error).__name__
        if isinstance(error, EndpointError) and error.kind:
            kind = error.kind
        message = error.what if isinstance(error, DynamoError) else str(error)
        count, example = self._failures.get(kind, (0, message.partition("\n")[0].removeprefix(f"{kind}: ")))
        self._failures[kind] = count + 1, example

    def _close_seconds(self, now: float) -> None:
        """Adds the seconds that are over to the series."""
        while len(self._seconds) < int(now - self._from):
            self._seconds.append(self._second())
            self._answered_now = self._failed_now = self._items_now = 0
            self._latency_now = Latencies()

    def _second(self) -> Second:
        p50, p99 = self._latency_now.percentiles((0.5, 0.99)) if self._latency_now.count else (None, None)
        return Second(self._answered_now, self._failed_now, self._items_now, p50, p99)

    def measured(self) -> BenchResult:
        """Returns what was measured until now, from any thread."""
        over = self._last < math.inf
        seconds = max(min(self._last, self._until, perf_counter()) - self._from, 0.0) if self._from < math.inf else 0.0
        shape, latency = self.shape, self._latency.copy()
        failed = sum(count for count, _ in self._failures.values())
        parts = [0.0] if over or math.isinf(shape.seconds) else [seconds / shape.seconds]
        if shape.requests is not None:
            parts.append((latency.count + failed) / shape.requests)
        series = list(self._seconds)
        if self._answered_now or self._failed_now or self._items_now:
            series.append(self._second())
        return BenchResult(
            target=self.target,
            load=str(shape),
            seconds=seconds,
            calls=latency.count,
            rate=self._in_time / seconds if seconds else 0.0,
            latency=Percentiles.of(latency),
            errors={kind: Failure(*found) for kind, found in self._failures.copy().items()},
            series=tuple(series),
            first_item=Percentiles.of(self._first.copy()),
            between_items=Percentiles.of(self._between.copy()),
            items=self._items,
            item_rate=self._items_in_time / seconds if seconds else 0.0,
            late=Percentiles.of(self._late.copy()),
            unsent=self._unsent,
            unfinished=self._unfinished,
            ended=self._reason,
            progress=1.0 if over else min(max(parts), 1.0),
        )


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # on Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()  # type: ignore[no-any-return]
