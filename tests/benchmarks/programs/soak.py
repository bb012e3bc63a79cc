"""Many calls of every kind, and what both processes hold after 1 % of them and after all: nothing may grow.

Usage: soak.py [--calls 10000000]. Its status is 1 when something grew, or a call had another end than it should.
"""

import argparse
import asyncio
import itertools
import os
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import uvloop
from place import own_home, proportional_memory, tell
from soak_graph import Backend, tidy

from dynamo_nb import serve
from dynamo_nb.errors import DeadlineExceeded, EndpointError
from dynamo_nb.runtime import request_scope
from dynamo_nb.sdk.portal import portal

CALLS = 10_000_000
AT_ONCE = 64
WARM_UP = 3000  # calls at least before the first look: what is made once is then there
LONG = 200  # items of a stream that is left: more than a worker writes in one turn
TIMEOUT = 0.005  # seconds, for the calls that are to end so
SETTLE = 10.0  # seconds in which what was cancelled has to be gone
MORE = {"memory_mb": 0.10, "objects": 0.02, "tasks": 0, "files": 0, "sockets": 0}  # of the first, that may be added


async def echo(backend, n):
    return await backend.echo(f"call {n}") == f"call {n}"


async def stream(backend, n):
    return [i async for i in backend.count(10)] == list(range(10))


async def half_a_stream(backend, n):
    items = aiter(backend.count(LONG))
    got = [await anext(items) for _ in range(5)]
    await items.aclose()
    return got == list(range(5))


async def dropped_stream(backend, n):
    async for i in backend.count(LONG):
        return i == 0
    return False


async def cancelled(backend, n):
    task = asyncio.ensure_future(backend.wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


async def timed_out(backend, n):
    try:
        with request_scope(timeout=TIMEOUT):
            await backend.wait()
    except DeadlineExceeded:
        return True


async def failed(backend, n):
    try:
        await backend.fail(f"call {n}")
    except EndpointError as error:
        return error.what == f"ValueError: call {n}"


KINDS = [echo] * 14 + [stream, half_a_stream, dropped_stream, cancelled, timed_out, failed]


async def call(backend, numbers, wrong):
    for n in numbers:
        kind = KINDS[n % len(KINDS)]
        try:
            right = await kind(backend, n)
        except Exception as error:
            wrong[f"{kind.__name__}: {type(error).__name__}"] += 1
        else:
            if not right:
                wrong[kind.__name__] += 1


async def calls(backend, numbers, wrong):
    await asyncio.gather(*(call(backend, numbers, wrong) for _ in range(AT_ONCE)))


def held_by(process):
    descriptors = []
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # such as the one that lists them
            descriptors.append(str(descriptor.readlink()))
    return {
        "memory_mb": round(proportional_memory(process), 2),
        "files": len(descriptors),
        "sockets": sum(name.startswith("socket:") for name in descriptors),
    }


async def look(backend, worker):
    """What the caller and the worker hold."""
    theirs = await backend.look()
    mine = {"objects": tidy(), "tasks": len(asyncio.all_tasks()) + len(asyncio.all_tasks(portal.loop))}
    return {"caller": mine | held_by(os.getpid()), "worker": theirs | held_by(worker)}


def growth(first, last):
    """What has become more than it may."""
    return [
        f"{what} of the {who}: {first[who][what]} -> {last[who][what]}"
        for who in first
        for what, more in MORE.items()
        if last[who][what] > first[who][what] * (1 + more)
    ]


async def main(count):
    wrong, numbers, begun = Counter(), itertools.count(), time.perf_counter()
    async with await serve(Backend, http_port=0) as deployment:
        backend = deployment.Backend
        (process,) = deployment.status.services["Backend"].workers
        early = min(max(count // 100, WARM_UP), count)
        await calls(backend, itertools.islice(numbers, early), wrong)
        first = last = await look(backend, process.pid)
        done = early
        for tenth in range(1, 11):
            until = early + (count - early) * tenth // 10
            await calls(backend, itertools.islice(numbers, until - done), wrong)
            done = until
            print(f"{tenth}0 %: {await look(backend, process.pid)}", file=sys.stderr, flush=True)
        end = time.perf_counter() + SETTLE
        while grown := growth(first, last := await look(backend, process.pid)):
            if time.perf_counter() > end:
                break
            await asyncio.sleep(0.2)
    seconds = time.perf_counter() - begun
    tell(
        {
            "calls": count,
            "calls_per_s": round(count / seconds),
            f"after {early}": first,
            f"after {count}": last,
            "grown": grown,
            "wrong": wrong,
        }
    )
    return 1 if grown or wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=CALLS)
    options = parser.parse_args()
    with own_home(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(main(options.calls)))
