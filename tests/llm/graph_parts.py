"""Graphs of workers that echo, which can be looked into while they are served."""

import asyncio
import time
from collections import Counter
from contextlib import aclosing, asynccontextmanager

from dynamo_nb.errors import NoInstances, WorkerLost

BOUND = 60  # seconds that anything here may take on a busy machine
DEADLY = 500  # a token that ends the process of the worker that reads it
SERVICES = '''
import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing

from msgspec.structs import replace

from dynamo_nb import async_on_start, dynamo_context, dynamo_endpoint, service
from dynamo_nb.llm import EchoEngine, EchoWorker, Frontend, Processor, Router
from dynamo_nb.llm.messages import Placement, TokenRequest


def tasks_of(runtime):
    """What runs on the loop, but for what serves requests: those that ask this are some of them."""
    serving = {*runtime.server.tasks, asyncio.current_task()}
    return sorted(task.get_coro().__qualname__ for task in asyncio.all_tasks() - serving)


@service
class Api(Frontend):
    @dynamo_endpoint()
    async def admitted(self) -> int:
        return self.admission.running

    @dynamo_endpoint()
    async def tasks(self) -> list[str]:
        return tasks_of(dynamo_context["runtime"])


@service(dynamo={"namespace": "dynamo"})
class Text(Processor):
    prompts = 0  # that it has begun to tokenise

    @async_on_start
    async def prepare(self):
        self.changed = asyncio.Condition()

    async def _tokens_of(self, request, answer=1):
        self.prompts += 1
        async with self.changed:
            self.changed.notify_all()
        return await super()._tokens_of(request, answer)

    @dynamo_endpoint()
    async def begun(self, prompts: int) -> int:
        """Returns how many prompts it has begun to tokenise, when it is so many."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.prompts >= prompts)
        return self.prompts

    @dynamo_endpoint()
    async def tasks(self) -> list[str]:
        return tasks_of(dynamo_context["runtime"])


class Noting(EchoEngine):
    """Keeps the names of the requests that came, and how much of their answers others had made."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.came = []

    async def generate(self, request):
        self.came.append((request.request_id, request.generated))
        if 500 in request.tokens:
            os._exit(1)
        async with aclosing(super().generate(request)) as deltas:
            async for delta in deltas:
                yield delta


@service(dynamo={"namespace": "dynamo"})
class Echo(EchoWorker):
    def make_engine(self):
        return Noting(self.engine_options())

    @dynamo_endpoint()
    async def came(self) -> list[tuple[str, int]]:
        return self.engine.came

    @dynamo_endpoint()
    async def tasks(self) -> list[str]:
        return tasks_of(dynamo_context["runtime"])


@service(dynamo={"namespace": "dynamo"})
class Late(Router):
    """Sends each request first to a worker that has gone."""

    @dynamo_endpoint()
    async def place(self, request: TokenRequest, avoid: list[int]) -> AsyncIterator[Placement]:
        async with aclosing(aiter(super().place(request, avoid))) as places:
            async for place in places:
                yield place if avoid else replace(place, instance_id=1)


@service(dynamo={"namespace": "dynamo"})
class Embedder(EchoWorker):
    def make_engine(self):
        return EchoEngine(self.engine_options(), embeddings=True)
'''
LINKS = {
    "direct": "Api.link(Text).link(Echo)\n",
    "routed": "Api.link(Text).link(Router).link(Echo)\n",
    "late": "Api.link(Text).link(Late).link(Echo)\n",
    "embedding": "Api.link(Text).link(Embedder)\n",
}


def serve(project, link, *args):
    """Serves one of the graphs; the model is called tiny."""
    project.write(f"{link}.py", SERVICES, LINKS[link])
    args = ["--Text.served_model_name=tiny", *args]
    return project.serve(f"{link}:Api", args=args).result(timeout=BOUND)


class Loads:
    """What the workers of Echo are busy with, all together, as their events tell it.

    at: when it became so, by the monotonic clock.
    """

    def __init__(self):
        self.at = 0.0
        self._loads, self._gone, self._changed = {}, set(), asyncio.Condition()

    @classmethod
    @asynccontextmanager
    async def of(cls, deployment):
        loads, ids = cls(), list(ready(deployment.status))
        tasks = [asyncio.create_task(loads._follow(deployment, one)) for one in ids]
        try:
            await loads.until(lambda: loads._loads.keys() | loads._gone == set(ids))
            yield loads
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, deployment, instance_id):
        while instance_id in ready(deployment.status):
            try:
                await self._take(instance_id, aiter(deployment.Echo.events().using(instance_id=instance_id)))
            except NoInstances:  # this process has not heard of it yet, or has heard of its end before the supervisor
                await asyncio.sleep(0.005)
            except WorkerLost:
                break
        async with self._changed:
            self._loads.pop(instance_id, None)
            self._gone.add(instance_id)
            self._changed.notify_all()

    async def _take(self, instance_id, events):
        async with aclosing(events):
            async for event in events:
                if event.load is not None:
                    async with self._changed:
                        self._loads[instance_id], self.at = event.load, time.monotonic()
                        self._changed.notify_all()

    @property
    def sum(self):
        """Of all workers: requests that run, that wait, and blocks in use."""
        loads = self._loads.values()
        return sum(x.running for x in loads), sum(x.waiting for x in loads), sum(x.used_blocks for x in loads)

    @property
    def busy(self):
        """The instances that have requests."""
        return [one for one, load in self._loads.items() if load.running or load.waiting]

    async def until(self, condition):
        async with self._changed:
            await self._changed.wait_for(condition)

    async def change(self):
        async with self._changed:
            await self._changed.wait()

    async def free(self):
        """Returns when no worker has anything to do, with the moment at which that was told."""
        await self.until(lambda: self.sum == (0, 0, 0))
        return self.at


async def settled(deployment, condition):
    """Returns when the deployment's state is such."""
    changed = asyncio.Event()

    def heard(_):
        changed.set()

    deployment.listeners.append(heard)
    try:
        while not condition(deployment.status):
            changed.clear()
            await changed.wait()
    finally:
        deployment.listeners.remove(heard)


def ready(status, service="Echo"):
    """Instance to process of the workers that serve."""
    workers = status.services[service].workers
    return {int(worker.instance_id): worker.pid for worker in workers if worker.ready}


async def came(graph):
    """The requests that the workers that live have been given, with how much of them others had made."""
    found = []
    for one in ready(graph.status):
        found += await graph.Echo.came().using(instance_id=one)
    return found


async def is_free(graph):
    """Neither engine, frontend nor anyone between them has anything in hand."""
    async with Loads.of(graph) as loads:
        await loads.free()
    return await graph.Api.admitted() == 0 and await calls_of(graph) == {}


async def until(condition):
    """Asks again and again: of what other processes are at, nobody says when it is so."""
    while not await condition():
        pass


async def tasks_of(deployment):
    """What runs in each service, by name and how often."""
    names = {name: await deployment[name].tasks() for name in ("Api", "Text", "Echo")}
    return Counter((name, task) for name, tasks in names.items() for task in tasks)


async def steady_tasks(deployment):
    """What runs there all the time: what is just ending, or asks now and then, is not there whenever it is looked."""
    steady = await tasks_of(deployment)
    for _ in range(5):
        steady &= await tasks_of(deployment)
    return steady


async def calls_of(deployment):
    """The requests that no one has answered, by service and endpoint, but for streams of events that never end."""
    metrics = await deployment.metrics()
    found = {}
    for name, service in metrics["services"].items():
        for worker in service["workers"].values():
            for endpoint, reading in worker.items():
                if reading["in_flight"] and endpoint != "events":
                    found[name, endpoint] = found.get((name, endpoint), 0) + reading["in_flight"]
    for edge in metrics["edges"]:
        if edge["in_flight"] and edge["endpoint"] != "events":
            found[edge["source"], edge["target"], edge["endpoint"]] = edge["in_flight"]
    return found
