"""A worker process for the tests: `echo_worker.py NATS_URL SOCKET_DIR NAMESPACE LEASE`."""

import asyncio
import os
import sys
from pathlib import Path

from dynamo_nb.runtime import DistributedRuntime


async def main(url, sockets, namespace, lease):
    runtime = await DistributedRuntime.connect(url, socket_dir=Path(sockets), lease=float(lease))

    served = asyncio.Event()

    async def ready(args, kwargs, context):
        """Answers once NATS has confirmed the registration."""
        await served.wait()

    async def pid(args, kwargs, context):
        return os.getpid()

    async def endless(args, kwargs, context):
        yield os.getpid()
        await asyncio.Event().wait()

    async def die_once(args, kwargs, context):
        """Creates a file at args[0] and kills this worker, unless the file exists."""
        if not Path(args[0]).exists():
            Path(args[0]).touch()
            os.kill(os.getpid(), 9)
        return os.getpid()

    async def die(args, kwargs, context):
        os.kill(os.getpid(), 9)

    handlers = {"ready": ready, "pid": pid, "endless": endless, "die_once": die_once, "die": die}
    await runtime.namespace(namespace).component("Echo").serve(handlers)
    served.set()
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
