"""The graph that these tests serve and break."""

PROGRAM = '''
import asyncio
import ctypes
import gc
import itertools
import os
import time
from pathlib import Path

from dynamo_nb import async_on_start, depends, dynamo_endpoint, liveness, service


@service(workers=2)
class Backend:
    def __init__(self, broken=""):
        self.broken, self.health, self.produced = broken, True, {}

    @async_on_start
    async def start(self):
        """Ends this worker soon after it serves, while the file exists."""

        async def end():
            while True:
                if self.broken and Path(self.broken).exists():
                    print("no memory left, perhaps")
                    os._exit(3)
                await asyncio.sleep(0.02)

        self.ending = asyncio.create_task(end())

    @dynamo_endpoint()
    async def pid(self, seconds: float = 0) -> int:
        await asyncio.sleep(seconds)
        return os.getpid()

    @dynamo_endpoint()
    async def count(self, pause: float):
        """Yields its pid, then numbers without end."""
        yield os.getpid()
        n = 0
        while True:
            await asyncio.sleep(pause)
            yield (n := n + 1)

    @dynamo_endpoint()
    async def chunks(self, name: str, count: int, size: int):
        """A stream of count * size bytes, none of which is stored."""
        for n in range(count):
            self.produced[name] = n + 1
            yield bytes(size)

    @dynamo_endpoint()
    async def chunks_produced(self, name: str) -> int:
        return self.produced[name]

    @dynamo_endpoint()
    async def echo(self, text: str) -> str:
        return text

    @dynamo_endpoint()
    async def release_memory(self) -> None:
        """Returns unused memory to the system, so that the used memory can be measured."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)

    @dynamo_endpoint(retry=False)
    async def fail(self, how: str) -> None:
        if how == "exception":
            raise ValueError("not like this")
        if how == "exit":
            raise SystemExit(3)
        if how == "memory":
            bytearray(1 << 62)
        if how == "loop":
            while True:
                pass
        if how == "C code":
            all(itertools.repeat(True))  # never releases the GIL
        if how == "segmentation fault":
            ctypes.string_at(0)
        if how == "cancels all tasks":
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
        if how == "cancels the heartbeats":
            for task in asyncio.all_tasks():
                if "_heartbeat" in task.get_coro().__qualname__:
                    task.cancel()
        if how == "cancels the commands":
            for task in asyncio.all_tasks():
                if "_execute" in task.get_coro().__qualname__:
                    task.cancel()
        if how == "_exit":
            os._exit(4)

    @dynamo_endpoint()
    async def become_unhealthy(self, how: str) -> int:
        self.health = how
        return os.getpid()

    @liveness
    async def alive(self):
        if self.health == "raises":
            raise RuntimeError("the engine is dead")
        return self.health != "returns False"


@service
class Frontend:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def pid(self) -> int:
        return await self.backend.pid()
'''
