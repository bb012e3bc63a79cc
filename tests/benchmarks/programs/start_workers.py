"""Sixteen at once: workers of one service until all are ready, or plain kernels until all have answered.

Usage: start_workers.py [ours|kernels]
"""

import asyncio
import os
import sys
import time

from place import own_home, short_folder, tell

COUNT = 16
PATIENCE = 120


async def ours():
    from hello_graph import Backend

    from dynamo_nb import serve

    start = time.perf_counter()
    deployment = await serve(Backend, {"Backend": {"ServiceArgs": {"workers": COUNT}}}, http_port=0)
    took = time.perf_counter() - start
    states = [worker.state for worker in deployment.status.services["Backend"].workers]
    assert states == ["ready"] * COUNT
    await deployment.stop()
    return took


async def kernels(folder):
    """Over Unix sockets: over TCP they race for ports, and now and then one of sixteen dies of it."""
    from jupyter_client.manager import AsyncKernelManager

    os.environ["IPYTHONDIR"] = str(folder)
    managers = [AsyncKernelManager(transport="ipc", connection_file=str(folder / f"{n}.json")) for n in range(COUNT)]

    async def ready(manager):
        await manager.start_kernel()
        client = manager.client()
        client.start_channels()
        try:
            await client.wait_for_ready(timeout=PATIENCE)
        finally:
            client.stop_channels()

    start = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(ready(manager) for manager in managers))
        return time.perf_counter() - start
    finally:
        await asyncio.gather(*(manager.shutdown_kernel(now=True) for manager in managers if manager.has_kernel))


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        with own_home():
            tell({"seconds": asyncio.run(ours())})
    else:
        with short_folder() as folder:
            tell({"seconds": asyncio.run(kernels(folder))})
