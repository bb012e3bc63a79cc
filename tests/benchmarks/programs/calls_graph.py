"""Two services: the caller measures what calls of its dependency take, from within its own worker."""

import asyncio
import cProfile
import io
import pstats
from collections.abc import AsyncIterator

from load import CALLS, ITEM, ITEMS, REQUEST, measure, median_call
from messages import Answer, Request

from dynamo_nb import depends, dynamo_endpoint, service


@service(dynamo={"namespace": "bench"})
class Backend:
    @dynamo_endpoint()
    async def one(self, request: dict) -> dict:
        return ITEM

    @dynamo_endpoint()
    async def model(self, request: Request) -> Answer:
        return Answer()

    @dynamo_endpoint()
    async def stream(self, request: dict) -> AsyncIterator[dict]:
        for _ in range(request["n"]):
            yield ITEM

    @dynamo_endpoint()
    async def profile_begin(self) -> None:
        self.profile = cProfile.Profile()
        self.profile.enable()

    @dynamo_endpoint()
    async def profile_end(self) -> str:
        self.profile.disable()
        return shown(self.profile)


@service(dynamo={"namespace": "bench"})
class Caller:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def measured(self) -> dict:
        backend = self.backend

        async def stream(n):
            count = 0
            async for _ in backend.stream(REQUEST | {"n": n}):
                count += 1
            return count

        figures = await measure(lambda: backend.one(REQUEST), stream)
        request = Request()
        return figures | {"model_us": 1e6 * await median_call(lambda: backend.model(request))}

    @dynamo_endpoint()
    async def profiled(self, what: str) -> str:
        """Where the time of one kind of call goes, at the caller's end and at the other."""
        backend, request = self.backend, Request()

        async def calls():
            for _ in range(CALLS):
                await backend.one(REQUEST)

        async def models():
            for _ in range(CALLS):
                await backend.model(request)

        async def at_once():
            async def one():
                await backend.one(REQUEST)

            for _ in range(CALLS // 64):
                await asyncio.gather(*(one() for _ in range(64)))

        async def items():
            async for _ in backend.stream(REQUEST | {"n": ITEMS}):
                pass

        work = {"calls": calls, "models": models, "at_once": at_once, "items": items}[what]
        await work()
        await backend.profile_begin()
        profile = cProfile.Profile()
        profile.enable()
        await work()
        profile.disable()
        return f"at the caller:\n{shown(profile)}\nat the other end:\n{await backend.profile_end()}"


def shown(profile):
    text = io.StringIO()
    pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(25)
    return text.getvalue()
