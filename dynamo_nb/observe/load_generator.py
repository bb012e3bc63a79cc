"""A load of calls, made by a thread of its own with an event loop of its own, so that no other loop waits for it.

Callers at once (a closed loop) ask again as soon as they have an answer, so that a service that stalls is asked less.
With a rate (an open loop) calls begin when they are meant to, whatever came of the earlier ones, and latency counts
from that moment: what a stall costs those who came during it is measured, and not left out.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import cycle
from time import perf_counter
from typing import Any, Final

from dynamo_nb.errors import DeploymentError, DynamoError, EndpointError, InvalidArgument
from dynamo_nb.observe.bench import BenchResult, Failure, Percentiles, Second
from dynamo_nb.observe.latencies import Latencies
from dynamo_nb.observe.units import digits
from dynamo_nb.sdk.call import Call

DURATION: Final = 10.0
"""Seconds of a load that says nothing of its end."""
MOST_WAITING: Final = 1000
"""Calls that a load of a given rate keeps waiting, unless it says so: more than any service answers well at once."""
MOST_AT_ONCE: Final = 20_000
"""Callers of one load: each is a task and an open call of one thread, which no longer measures but itself by then."""
LAST_ANSWERS: Final = 30.0
"""Seconds that the last calls may take after the end: those left out would be the long ones."""
PAUSE: Final = 0.01
"""Seconds that a caller waits after an error: with no worker there calls fail at once, and would only cost a core."""

Calls = Callable[[], AbstractAsyncContextManager[Sequence[Call[Any]]]]
"""Gives the calls to make in turn, on the loop that makes them."""


@dataclass(frozen=True)
class LoadShape:
    """How calls are made.

    concurrency: callers at once; with a rate, how many calls may wait for their answers. rate: calls a second.
    duration: seconds. requests: how many calls; with both, whichever ends first. warmup: seconds before, whose calls
    are not counted. timeout: seconds for each call. Raises InvalidArgument for what cannot be.
    """

    concurrency: int | None = None
    rate: float | None = None
    duration: float | None = None
    requests: int | None = None
    warmup: float = 0.0
    timeout: float | None = None

    def __post_init__(self) -> None:
        for name in ("concurrency", "rate", "duration", "requests", "timeout"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > 0):
                raise InvalidArgument(f"{name}={value!r} is no number above 0", where="bench(…)")
        for name in ("concurrency", "requests"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, int):
                raise InvalidArgument(f"{name}={value!r} is no whole number", where="bench(…)")
        if self.concurrency is not None and self.concurrency > MOST_AT_ONCE:
            remedy = f"ask for {MOST_AT_ONCE:,} or fewer, and for more from several processes"
            raise InvalidArgument(f"concurrency={self.concurrency} is more than one load makes", remedy=remedy)
        if not (_is_number(self.warmup) and self.warmup >= 0):
            raise InvalidArgument(f"warmup={self.warmup!r} is no number of seconds", where="bench(…)")

    @property
    def most(self) -> int:
        """Calls at once."""
        return self.concurrency or (MOST_WAITING if self.rate is not None else 1)

    @property
    def seconds(self) -> float:
        """Of what is measured; without an end where the number of calls is given instead."""
        if self.duration is not None:
            return self.duration
        return math.inf if self.requests is not None else DURATION

    def __str__(self) -> str:
        if self.rate is not None:
            return f"{digits(self.rate)} calls a second"
        return f"{self.most} at once" if self.most > 1 else "one call after the other"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class Load:
    """One load. `begin` starts it; `ended` is done when it is over, `stop` ends it, `measured` says what it has so far.

    stream: whether answers are streams. Everything but `_stopping` belongs to the load's own loop; others read it.
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
        self.ended.set_running_or_notify_cancel()
        threading.Thread(target=self._run, name="dynamo-bench", daemon=True).start()

    def stop(self, reason: str) -> None:
        """Ends it from any thread, with what it has measured; calls under way are given up."""
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
                runner.run(self._whole())
            self.ended.set_result(self.measured())
        except BaseException as error:
            self.ended.set_exception(error)

    async def _whole(self) -> None:
        self._stopped, self._loop = asyncio.Event(), asyncio.get_running_loop()
        if self._stopping.is_set():
            self._stopped.set()
        async with self._calls() as given:
            timeout = self.shape.timeout
            calls = given if timeout is None else [call.using(timeout=timeout) for call in given]
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
            self._turn(self._last)
            if not making.cancelled():
                making.result()

    # --- how calls are made ------------------------------------------------------------------------------------------

    def _may_begin(self, moment: float) -> bool:
        """Whether a call may begin that is meant for this moment; those after the warm-up are counted."""
        if moment >= self._until or self._reason or self._left <= 0:
            return False
        if moment >= self._from:
            self._left -= 1
        return True

    async def _closed(self, calls: Sequence[Call[Any]]) -> None:
        turns = cycle(calls)

        async def caller() -> None:
            while self._may_begin(begun := perf_counter()):
                if not await self._made(next(turns), begun):
                    await asyncio.sleep(PAUSE)

        async with asyncio.TaskGroup() as group:
            for _ in range(self.shape.most):
                group.create_task(caller())

    async def _open(self, calls: Sequence[Call[Any]]) -> None:
        assert self.shape.rate is not None
        turns, interval, meant = cycle(calls), 1 / self.shape.rate, perf_counter()
        room, first, number = asyncio.Semaphore(self.shape.most), meant, 0

        async def one(call: Call[Any], meant: float) -> None:
            try:
                await self._made(call, meant)
            finally:
                room.release()

        async with asyncio.TaskGroup() as group:
            while self._may_begin(meant):
                if (ahead := meant - perf_counter()) > 0:
                    await asyncio.sleep(ahead)
                await room.acquire()
                if perf_counter() >= self._until:
                    room.release()
                    self._unsent = math.ceil((self._until - meant) / interval)
                    return
                if meant >= self._from:
                    self._late.add(perf_counter() - meant)
                group.create_task(one(next(turns), meant))
                number += 1
                meant = first + number * interval

    async def _made(self, call: Call[Any], begun: float) -> bool:
        """Makes one call and counts what becomes of it; gives whether it was answered."""
        self._waiting += 1
        counted = begun >= self._from
        try:
            if self._stream:
                await self._consume(call, begun, counted)
            else:
                await call
        except Exception as error:
            if isinstance(error, DeploymentError):  # no call can be made any more
                self._reason = self._reason or error.what
            if counted:
                self._count_failure(error)
            return False
        finally:
            self._waiting -= 1
        if counted:
            self._count_answer(begun)
        return True

    async def _consume(self, call: Call[Any], begun: float, counted: bool) -> None:
        before, first = begun, True
        async for _ in call:
            now = perf_counter()
            if counted:
                (self._first if first else self._between).add(now - before)
                self._turn(now)
                self._items += 1
                self._items_now += 1
                self._items_in_time += now <= self._until
            before, first = now, False

    # --- what is counted ---------------------------------------------------------------------------------------------

    def _count_answer(self, begun: float) -> None:
        now = perf_counter()
        self._turn(now)
        self._latency.add(now - begun)
        self._latency_now.add(now - begun)
        self._answered_now += 1
        self._in_time += now <= self._until

    def _count_failure(self, error: Exception) -> None:
        self._turn(perf_counter())
        self._failed_now += 1
        kind = type(error).__name__
        if isinstance(error, EndpointError) and error.kind:
            kind = error.kind
        what = error.what if isinstance(error, DynamoError) else str(error)
        count, example = self._failures.get(kind, (0, what.partition("\n")[0].removeprefix(f"{kind}: ")))
        self._failures[kind] = count + 1, example

    def _turn(self, now: float) -> None:
        """Closes the seconds that are over."""
        while len(self._seconds) < int(now - self._from):
            self._seconds.append(self._second())
            self._answered_now = self._failed_now = self._items_now = 0
            self._latency_now = Latencies()

    def _second(self) -> Second:
        p50, p99 = self._latency_now.percentiles((0.5, 0.99)) if self._latency_now.count else (None, None)
        return Second(self._answered_now, self._failed_now, self._items_now, p50, p99)

    def measured(self) -> BenchResult:
        """What was measured until now."""
        over = self._last < math.inf
        seconds = max(min(self._last, self._until, perf_counter()) - self._from, 0.0) if self._from < math.inf else 0.0
        shape, in_all = self.shape, self._latency.copy()
        failed = sum(count for count, _ in self._failures.values())
        parts = [0.0] if over or math.isinf(shape.seconds) else [seconds / shape.seconds]
        if shape.requests is not None:
            parts.append((in_all.count + failed) / shape.requests)
        series = list(self._seconds)
        if self._answered_now or self._failed_now or self._items_now:
            series.append(self._second())
        return BenchResult(
            target=self.target,
            load=str(shape),
            seconds=seconds,
            calls=in_all.count,
            rate=self._in_time / seconds if seconds else 0.0,
            latency=Percentiles.of(in_all),
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
