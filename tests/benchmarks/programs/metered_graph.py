"""Two services that count their requests, or do not, as they are told; the caller measures both in turns."""

import asyncio
import statistics
import time

from load import AT_ONCE, ITEM, REQUEST

from dynamo_nb import depends, dynamo_endpoint, service
from dynamo_nb.runtime.meters import Meter

PAIRS = 60
CALLS, CALLS_AT_ONCE = 200, 1500  # some 20 to 100 ms: short, so that disturbances fall on few pairs
COUNTING = {name: value for name, value in vars(Meter).items() if callable(value) and name not in {"__init__", "read"}}


def count(on):
    for name, method in COUNTING.items():
        setattr(Meter, name, method if on else lambda *_: 0.0)


@service(dynamo={"namespace": "bench"})
class Backend:
    @dynamo_endpoint()
    async def one(self, request: dict) -> dict:
        return ITEM

    @dynamo_endpoint()
    async def count(self, on: bool) -> None:
        count(on)


@service(dynamo={"namespace": "bench"})
class Caller:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def measured(self) -> dict:
        backend = self.backend

        async def calls():
            for _ in range(CALLS):
                await backend.one(REQUEST)

        async def at_once():
            async def some():
                for _ in range(CALLS_AT_ONCE // AT_ONCE):
                    await backend.one(REQUEST)

            await asyncio.gather(*(some() for _ in range(AT_ONCE)))

        return {"call": await self.ratio(calls), "at_once": await self.ratio(at_once)}

    async def ratio(self, work) -> float:
        """The median, over pairs of runs beside each other, of the time with counting divided by that without."""
        ratios = []
        for number in range(PAIRS):
            took = {}
            for on in (True, False) if number % 2 else (False, True):
                await self.backend.count(on)
                count(on)
                await work()  # the interpreter adapts to the methods anew
                began = time.perf_counter()
                await work()
                took[on] = time.perf_counter() - began
            ratios.append(took[True] / took[False])
        return statistics.median(ratios)
