"""A client that comes to a component with a thousand instances: from connecting to NATS until it knows them all."""

import asyncio
import sys
import time

import msgspec
import uvloop
from place import child, own_home, tell

from dynamo_nb.runtime import DistributedRuntime, NatsServer

COUNT = 1000
LEASE = 30.0  # seconds: the process that stands for all the workers could not send a thousand heartbeats a second
PATIENCE = 60
NAMESPACE, COMPONENT, ENDPOINT = "bench", "Backend", "generate"


async def register(url):
    """Registers them all; says so in one line."""
    runtime = await DistributedRuntime.connect(url, lease=LEASE)
    await runtime.listen()
    one = runtime.instance(NAMESPACE, COMPONENT, (ENDPOINT,), {})
    for number in range(COUNT):
        await runtime.discovery.register(msgspec.structs.replace(one, instance_id=one.instance_id + number))
    print("registered", flush=True)
    await asyncio.Event().wait()


async def view(url):
    start = time.perf_counter()
    runtime = await DistributedRuntime.connect(url, lease=LEASE)
    client = await runtime.namespace(NAMESPACE).component(COMPONENT).endpoint(ENDPOINT).client()
    await client.wait_for_instances(PATIENCE, COUNT)
    took = time.perf_counter() - start
    assert len(client.instance_ids()) == COUNT
    await runtime.close()
    return took


async def run(folder):
    nats = NatsServer()
    await nats.start(folder / "nats")
    try:
        with child(__file__, nats.url, stdout=-1) as process:
            said = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), PATIENCE)
            assert said == b"registered\n"
            return await view(nats.url)
    finally:
        await nats.stop()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        uvloop.run(register(sys.argv[1]))
    else:
        with own_home() as folder:
            tell({"seconds": uvloop.run(run(folder))})
