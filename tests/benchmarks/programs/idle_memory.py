"""The memory of one idle process: a worker of the smallest service, or a kernel that has run nothing.

Proportional set size: what a worker shares with the process that it was forked from counts by halves.
Usage: idle_memory.py [worker|kernel]
"""

import asyncio
import sys

from kernel import started_kernel
from place import own_home, proportional_memory, tell

SETTLE = 1.0  # seconds until what a start left running is done


async def worker():
    from hello_graph import Backend

    from dynamo_nb import serve

    async with await serve(Backend, http_port=0) as deployment:
        await asyncio.sleep(SETTLE)
        (process,) = deployment.status.services["Backend"].workers
        return proportional_memory(process.pid)


def kernel(folder):
    with started_kernel(folder, folder) as kernel:
        asyncio.run(asyncio.sleep(SETTLE))
        return proportional_memory(kernel.pid)


if __name__ == "__main__":
    with own_home() as folder:
        tell({"megabytes": asyncio.run(worker()) if sys.argv[1] == "worker" else kernel(folder)})
