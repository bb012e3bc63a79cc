"""One call to a component with N instances. One process holds them all, each with a socket and heartbeats of its own.

Usage: many_instances.py N
"""

import asyncio
import sys
from pathlib import Path

import uvloop
from calls_graph import Backend
from load import REQUEST, median_call
from place import child, own_home, tell

from dynamo_nb.runtime import DistributedRuntime, NatsServer
from dynamo_nb.sdk.definition import definition_of
from dynamo_nb.worker.worker import connect_service

PATIENCE = 60


async def serve(url, folder, count):
    definition, service = definition_of(Backend), Backend()
    namespace, name = Backend.dynamo_address()

    def handler(endpoint):
        return lambda args, kwargs, context: endpoint.start(service, args, kwargs)

    handlers = {endpoint.name: handler(endpoint) for endpoint in definition.endpoints.values()}
    runtimes = [await DistributedRuntime.connect(url, socket_dir=folder) for _ in range(count)]
    for runtime in runtimes:
        await runtime.namespace(namespace).component(name).serve(handlers)
    await asyncio.Event().wait()


async def run(folder, count):
    nats = NatsServer()
    await nats.start(folder / "nats")
    try:
        with child(__file__, str(count), nats.url, str(folder)):
            runtime = await DistributedRuntime.connect(nats.url)
            namespace, name = Backend.dynamo_address()
            client = await runtime.namespace(namespace).component(name).endpoint("one").client()
            await client.wait_for_instances(PATIENCE, count)
            backend = await connect_service(runtime, definition_of(Backend))
            took = await median_call(lambda: backend.one(REQUEST), warm_up=10 * count)
            await runtime.close()
            return took
    finally:
        await nats.stop()


if __name__ == "__main__":
    count = int(sys.argv[1])
    if len(sys.argv) > 2:
        uvloop.run(serve(sys.argv[2], Path(sys.argv[3]), count))
    else:
        with own_home() as folder:
            tell({"call_us": 1e6 * uvloop.run(run(folder, count))})
