"""One end of a network that is cut: `network_program.py worker|caller NATS_URL [HOST]`, in its own namespace.

The worker prints a line when it serves. The caller reads one command per line and answers with a line of JSON.
"""

import asyncio
import json
import sys
import time

from dynamo_nb.errors import DynamoError
from dynamo_nb.runtime import DistributedRuntime, keepalive, request_scope

keepalive.KEEPALIVE = 1  # with the default a vanished peer is noticed after 20 s, with this after 4


async def worker(url, host):
    runtime = await DistributedRuntime.connect(url, host=host)

    async def now(args, kwargs, context):
        return "now"

    async def later(args, kwargs, context):
        await asyncio.Event().wait()

    async def ticks(args, kwargs, context):
        while True:
            await asyncio.sleep(0.05)
            yield "tick"

    handlers = {"now": now, "later": later, "ticks": ticks}
    await runtime.namespace("cut").component("C").serve(handlers)
    print("serving", runtime.server.port, flush=True)
    await asyncio.Event().wait()


async def outcome(awaitable):
    start, error = time.monotonic(), None
    try:
        answer = await awaitable
    except DynamoError as raised:
        answer, error = None, type(raised).__name__
    return {"answer": answer, "error": error, "seconds": round(time.monotonic() - start, 3)}


async def caller(url):
    runtime = await DistributedRuntime.connect(url)
    component = runtime.namespace("cut").component("C")
    clients = {name: await component.endpoint(name).client() for name in ("now", "later", "ticks")}

    async def bounded(timeout):
        with request_scope(timeout=timeout):
            return await clients["now"].call()

    async def ticks(begun):
        async for _ in clients["ticks"].call():
            begun.set()

    waiting = {}

    async def begin():
        """Starts requests without a deadline: a single answer that does not come, and a stream."""
        begun = asyncio.Event()
        waiting["stream"] = asyncio.create_task(outcome(ticks(begun)))
        waiting["idle"] = asyncio.create_task(outcome(clients["later"].call()))
        await begun.wait()

    async def at_cut():
        """Sends a request into the cut network."""
        waiting["sent"] = asyncio.create_task(outcome(clients["now"].call()))

    async def ended():
        return {name: await task for name, task in waiting.items()}

    commands = {"begin": begin, "at_cut": at_cut, "ended": ended}
    commands["call"] = lambda: outcome(bounded(0.5))
    commands["wait"] = lambda: outcome(clients["now"].wait_for_instances(30))
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await commands[line.strip()]()), flush=True)
    await runtime.close()


role, *rest = sys.argv[1:]
asyncio.run(worker(*rest) if role == "worker" else caller(*rest))
