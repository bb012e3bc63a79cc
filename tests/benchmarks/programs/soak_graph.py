"""A service that is asked for everything that a request can become."""

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator

from dynamo_nb import dynamo_endpoint, service


def tidy() -> int:
    """Gives back what is not used; gives the number of objects that the collector knows."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return len(gc.get_objects())


@service(dynamo={"namespace": "bench"})
class Backend:
    @dynamo_endpoint()
    async def echo(self, text: str) -> str:
        return text

    @dynamo_endpoint()
    async def count(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    @dynamo_endpoint()
    async def wait(self) -> None:
        await asyncio.Event().wait()

    @dynamo_endpoint()
    async def fail(self, text: str) -> None:
        raise ValueError(text)

    @dynamo_endpoint()
    async def look(self) -> dict:
        """What this process holds; the task that looks is one of the tasks."""
        return {"objects": tidy(), "tasks": len(asyncio.all_tasks())}
