"""Graphs of echo workers whose state tests can read while they are served."""

import asyncio
import time
from collections import Counter
from contextlib import aclosing, asynccontextmanager

from dynamo_nb.errors import NoInstances, WorkerLost

BOUND = 60  # seconds for anything here, on a busy machine
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
    """The tasks on the loop, without those that serve requests, of which the caller is one."""
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
    prompts = 0  # prompts that it has begun to tokenise

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
        """Waits until it has begun to tokenise so many prompts; returns their number."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.prompts >= prompts)
        return self.prompts

    @dynamo_endpoint()
    async def tasks(self) -> list[str]:
        return tasks_of(dynamo_context["runtime"])


class RecordingEngine(EchoEngine):
    """Records the id of each request, and how many tokens of its answer another worker generated."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.received = []

    async def generate(self, request):
        self.received.append((request.request_id, request.generated))
        if 500 in request.tokens:
            os._exit(1)
        async with aclosing(super().generate(request)) as deltas:
            async for delta in deltas:
                yield delta


@service(dynamo={"namespace": "dynamo"})
class Echo(EchoWorker):
    def make_engine(self):
        return RecordingEngine(self.engine_options())

    @dynamo_endpoint()
    async def received(self) -> list[tuple[str, int]]:
        return self.engine.received

    @dynamo_endpoint()
    async def tasks(self) -> list[str]:
        return tasks_of(dynamo_context["runtime"])


@service(dynamo={"namespace": "dynamo"})
class StaleRouter(Router):
    """Sends each request first to a worker that has gone."""

    @dynamo_endpoint()
    async def place(self, request: TokenRequest, avoid: list[int]) -> AsyncIterator[Placement]:
        async with aclosing(aiter(super().place(request, avoid))) as placements:
            async for placement in placements:
                yield placement if avoid else replace(placement, instance_id=1)


@service(dynamo={"namespace": "dynamo"})
class Embedder(EchoWorker):
    def make_engine(self):
        return EchoEngine(self.engine_options(), embeddings=True)
'''
LINKS = {
    "direct": "Api.link(Text).link(Echo)\n",
    "routed": "Api.link(Text).link(Router).link(Echo)\n",
    "stale": "Api.link(Text).link(StaleRouter).link(Echo)\n",
    "embedding": "Api.link(Text).link(Embedder)\n",
}


def serve(project, link, *args):
    """Serves one of the graphs; the model is called tiny."""
    project.write(f"{link}.py", SERVICES, LINKS[link])
    args = ["--Text.served_model_name=tiny", *args]
    return project.serve(f"{link}:Api", args=args).result(timeout=BOUND)


class WorkerLoads:
    """The load of all workers of Echo, from their events.

    at: the time of the last change, by the monotonic clock.
    """

    def __init__(self):
        self.at = 0.0
        self._loads, self._gone, self._changed = {}, set(), asyncio.Condition()

    @classmethod
    @asynccontextmanager
    async def of(cls, deployment):
        loads, ids = cls(), list(ready_workers(deployment.status))
        tasks = [asyncio.create_task(loads._follow(deployment, one)) for one in ids]
        try:
            await loads.until(lambda: loads._loads.keys() | loads._gone == set(ids))
            yield loads
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, deployment, instance_id):
        while instance_id in ready_workers(deployment.status):
            try:
                await self._read(instance_id, aiter(deployment.Echo.events().using(instance_id=instance_id)))
            except NoInstances:  # this process does not know it yet, or learned of its end before the supervisor
                await asyncio.sleep(0.005)
            except WorkerLost:
                break
        async with self._changed:
            self._loads.pop(instance_id, None)
            self._gone.add(instance_id)
            self._changed.notify_all()

    async def _read(self, instance_id, events):
        async with aclosing(events):
            async for event in events:
                if event.load is not None:
                    async with self._changed:
                        self._loads[instance_id], self.at = event.load, time.monotonic()
                        self._changed.notify_all()

    @property
    def sum(self):
        """Running requests, waiting requests and used blocks of all workers."""
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

    async def idle(self):
        """Waits until no worker has a request; returns the time of the event that reports it."""
        await self.until(lambda: self.sum == (0, 0, 0))
        return self.at


async def wait_for_status(deployment, condition):
    """Returns when the condition is true of the deployment's status."""
    changed = asyncio.Event()

    def update(_):
        changed.set()

    deployment.listeners.append(update)
    try:
        while not condition(deployment.status):
            changed.clear()
            await changed.wait()
    finally:
        deployment.listeners.remove(update)


def ready_workers(status, service="Echo"):
    """Instance -> process of the ready workers."""
    workers = status.services[service].workers
    return {int(worker.instance_id): worker.pid for worker in workers if worker.ready}


async def received_requests(graph):
    """The requests of all ready workers, and how many tokens of each answer another worker generated."""
    found = []
    for one in ready_workers(graph.status):
        found += await graph.Echo.received().using(instance_id=one)
    return found


async def is_idle(graph):
    """Whether no service has a request."""
    async with WorkerLoads.of(graph) as loads:
        await loads.idle()
    return await graph.Api.admitted() == 0 and await open_calls(graph) == {}


async def poll_until(condition):
    """Calls the condition until it is true, for state of other processes that has no event."""
    while not await condition():
        pass


async def tasks_of(deployment):
    """(service, task) -> number of tasks in the processes of the deployment."""
    names = {name: await deployment[name].tasks() for name in ("Api", "Text", "Echo")}
    return Counter((name, task) for name, tasks in names.items() for task in tasks)


async def steady_tasks(deployment):
    """The tasks that are present all the time, without those that are ending or run only now and then."""
    steady = await tasks_of(deployment)
    for _ in range(5):
        steady &= await tasks_of(deployment)
    return steady


async def open_calls(deployment):
    """The calls in progress by service and endpoint, without streams of events, which never end."""
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
