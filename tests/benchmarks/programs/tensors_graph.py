"""Two services that hand tensors to each other; the caller measures it from within its own worker."""

import statistics
import time
from typing import Any

from arrays import BYTES, ROUNDS, WARM_UP, make

from dynamo_nb import depends, dynamo_endpoint, service


@service(dynamo={"namespace": "bench"})
class Store:
    def __init__(self):
        self.tensors = {}

    @dynamo_endpoint()
    async def take(self, tensor: Any) -> bool:
        return bool(tensor[-1] == 1)

    @dynamo_endpoint()
    async def give(self, kind: str) -> Any:
        if kind not in self.tensors:
            self.tensors[kind] = make(kind)
        return self.tensors[kind]


@service(dynamo={"namespace": "bench"})
class Mover:
    store = depends(Store)

    @dynamo_endpoint()
    async def measured(self, kind: str) -> dict:
        """Bytes in a second, there and back."""
        tensor = make(kind)

        async def take():
            assert await self.store.take(tensor)

        async def give():
            received = await self.store.give(kind)
            assert type(received) is type(tensor)
            assert received[-1] == 1

        return {"take": await rate(take), "give": await rate(give)}


async def rate(work):
    """Bytes in a second, by the median transfer."""
    times = []
    for _ in range(WARM_UP + ROUNDS):
        start = time.perf_counter()
        await work()
        times.append(time.perf_counter() - start)
    return BYTES / statistics.median(times[WARM_UP:])
