"""The load that every path of requests is measured with, and nothing about what it is measured on."""

import asyncio
import statistics
import time

REQUEST = {"n": 1, "prompt": "x" * 100}
ITEM = {"token": 7, "text": "hello"}
WARM_UP, CALLS = 300, 3000
AT_ONCE, CALLS_AT_ONCE = 64, 8000
ITEMS = 20_000
STREAMS, ITEMS_OF_EACH = 32, 1000
LEAST = 0.5  # seconds that a rate is measured over: the fastest paths would be done in 40 ms


async def median_call(call, calls=CALLS, warm_up=WARM_UP):
    """Median seconds of one call after another. call: takes nothing, gives an awaitable."""
    for _ in range(warm_up):
        await call()
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        await call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


async def calls_per_second(call):
    gate = asyncio.Semaphore(AT_ONCE)

    async def gated():
        async with gate:
            await call()

    async def all_of_them():
        await asyncio.gather(*(gated() for _ in range(CALLS_AT_ONCE)))
        return CALLS_AT_ONCE

    return await rate(all_of_them)


async def rate(work):
    """How much of what `work` counts is done in a second. Work is repeated until LEAST seconds have passed."""
    done, start = 0, time.perf_counter()
    while (took := time.perf_counter() - start) < LEAST:
        done += await work()
    return done / took


async def measure(call, stream):
    """The figures of one path. call(): one request, one answer. stream(n): counts the n items of one stream."""

    async def many():
        return sum(await asyncio.gather(*(stream(ITEMS_OF_EACH) for _ in range(STREAMS))))

    return {
        "call_us": 1e6 * await median_call(call),
        "calls_per_s": await calls_per_second(call),
        "items_per_s": await rate(lambda: stream(ITEMS)),
        "items_per_s_of_32": await rate(many),
    }
