"""Routers and echo engines in simulated time: every way to route, under every load, without processes or waiting.

The policies, the index, the account of placements, the engines and their caches are the real ones. Only the messages
between them are replaced: each takes DELAY. The same arguments have the same result on any machine.
"""

import asyncio
import itertools
import random
from contextlib import aclosing
from dataclasses import dataclass, replace
from random import Random
from statistics import mean
from types import SimpleNamespace

import msgspec
from simulated_time import run_simulated

from dynamo_nb.errors import EngineError
from dynamo_nb.llm.cache.blocks import block_hashes
from dynamo_nb.llm.cache.placer import Placer, Scoring
from dynamo_nb.llm.engines.echo.engine import EchoEngine
from dynamo_nb.llm.engines.echo.options import EchoOptions
from dynamo_nb.llm.workload import ChatSession, Turn, Workload, conversations, replay
from dynamo_nb.runtime import POLICIES

WORKERS = 4
BLOCK = 16
OPTIONS = EchoOptions(
    tokens_per_second=200, tokens_per_delta=16, prefill_tokens_per_second=5000, block_size=BLOCK, blocks=1024, slots=32
)
DELAY = 0.001  # seconds that a message between two processes takes
NOTICED = 0.1  # seconds after which routers know that a worker has been killed

DEFAULT = "first_token"
WAYS = {  # how to route -> the scoring of a Router; None for a policy of the runtime
    DEFAULT: Scoring(),
    "overlap": Scoring(policy="overlap"),
    "blocks": Scoring(policy="blocks"),
    "blocks, prefill_weight 8": Scoring(policy="blocks", prefill_weight=8),
    "round_robin": None,
    "random": None,
    "least_loaded": None,
    "affinity": None,
}


@dataclass(frozen=True)
class Load:
    """A workload, and the changes of the workers meanwhile: seconds, and +1 to add one or -1 to kill one."""

    workload: Workload
    changes: tuple[tuple[float, int], ...] = ()
    options: EchoOptions = OPTIONS


@dataclass(frozen=True)
class Result:
    """The sorted times to the first token, the requests of each worker that was there all the time, the hit rate."""

    firsts: list[float]
    requests: list[int]
    hit_rate: float

    @property
    def least(self):
        """The requests of the worker with the fewest, as a share of the mean."""
        return min(self.requests) / mean(self.requests)


class Workers:
    """The engines by instance id. ids: those that routers believe to be running."""

    def __init__(self, options):
        self.options = options
        self.engines, self.requests, self.ids = {}, {}, []
        self.routers = []

    async def add(self):
        instance_id = 7919 * (len(self.engines) + 1) % 10007
        engine = EchoEngine(self.options)
        await engine.start()
        self.engines[instance_id], self.requests[instance_id] = engine, 0
        self.ids.append(instance_id)
        for router in self.routers:
            router.follow(instance_id)

    async def kill_oldest(self):
        instance_id = self.ids[0]
        await self.engines[instance_id].stop()
        asyncio.get_running_loop().call_later(NOTICED, self._remove, instance_id)

    def _remove(self, instance_id):
        self.ids.remove(instance_id)
        for router in self.routers:
            router.lost(instance_id)

    async def answer(self, router, request):
        """Yields the deltas of an answer, which continues on another worker when its own is killed."""
        prompt, answer, avoid = request.tokens, [], []
        session = request.request_id.partition(".")[0]
        while True:
            await asyncio.sleep(DELAY)
            ids = [one for one in self.ids if one not in avoid] or self.ids
            placement, instance_id = router.place(request, session, ids)
            self.requests[instance_id] += not avoid
            avoid.append(instance_id)
            try:
                await asyncio.sleep(DELAY)
                async with aclosing(self.engines[instance_id].generate(request)) as deltas:
                    async for delta in deltas:
                        answer += delta.tokens
                        yield delta
                return
            except EngineError:
                request = msgspec.structs.replace(request, tokens=prompt + answer, generated=len(answer))
            finally:
                router.end(placement)


class KvRouter:
    """What a Router does with its Placer."""

    def __init__(self, workers, number, scoring):
        self.workers, self.placer = workers, Placer(scoring, number, seed=number)
        self.placer.table.block_size = BLOCK
        self.streams, self.tasks = {}, []
        for instance_id in workers.ids:
            self.follow(instance_id)

    def follow(self, instance_id):
        events = self.workers.engines[instance_id].cache.follow()
        self.streams[instance_id] = True
        self._apply_each(events, lambda event: self._apply(instance_id, event))

    def follow_router(self, other):
        self._apply_each(
            other.placer.log.follow(), lambda event: self.placer.table.apply_placements(other.placer.router, event)
        )

    def _apply_each(self, stream, apply):
        async def read():
            async with aclosing(stream) as events:
                async for event in events:
                    asyncio.get_running_loop().call_later(DELAY, apply, event)

        self.tasks.append(asyncio.create_task(read()))

    def _apply(self, instance_id, event):
        if instance_id in self.streams:
            self.placer.table.apply(instance_id, event)

    def lost(self, instance_id):
        del self.streams[instance_id]
        self.placer.table.keep(self.streams)

    def place(self, request, session, ids):
        placement = self.placer.place(ids, block_hashes(request.tokens, BLOCK), len(request.tokens)).placement
        return placement, placement.worker

    def end(self, placement):
        self.placer.end(placement)

    def stop(self):
        for task in self.tasks:
            task.cancel()


class BlindRouter:
    """A policy of the runtime in a process that knows only its own requests."""

    def __init__(self, policy):
        self.policy, self.open = POLICIES[policy](), {}

    def follow(self, instance_id):
        pass

    def lost(self, instance_id):
        pass

    def stop(self):
        pass

    def place(self, request, session, ids):
        asked = SimpleNamespace(key=session, in_flight=lambda one: self.open.get(one.instance_id, 0))
        instance_id = self.policy.pick([SimpleNamespace(instance_id=one) for one in ids], asked).instance_id
        self.open[instance_id] = self.open.get(instance_id, 0) + 1
        return instance_id, instance_id

    def end(self, instance_id):
        self.open[instance_id] -= 1


def simulate(load, way, routers=1):
    """Replays a load against workers and routers."""
    random.seed(0)  # the policies of the runtime use the module's own generator
    return run_simulated(_simulate(load, way, routers))


async def _simulate(load, way, routers):
    workers = Workers(load.options)
    for _ in range(WORKERS):
        await workers.add()
    begin, scoring = list(workers.ids), WAYS[way]
    workers.routers += [
        BlindRouter(way) if scoring is None else KvRouter(workers, number, scoring) for number in range(routers)
    ]
    if scoring is not None:
        for one, other in itertools.permutations(workers.routers, 2):
            one.follow_router(other)
    turns = itertools.cycle(workers.routers)

    async def change():
        for seconds, number in load.changes:
            await asyncio.sleep(seconds - asyncio.get_running_loop().time())
            await (workers.add() if number > 0 else workers.kill_oldest())

    changing = asyncio.create_task(change())
    result = await replay(load.workload, lambda request: workers.answer(next(turns), request))
    changing.cancel()
    for router in workers.routers:
        router.stop()
    requests = [workers.requests[one] for one in begin if one in workers.ids]
    return Result(sorted(one.first for one in result.results), requests, result.hit_rate)


@dataclass(frozen=True)
class Summary:
    """Several results together. median, p99: of the times to the first token, in seconds. least: of the worst one."""

    median: float
    p99: float
    least: float
    hit_rate: float


def summary(name, way, routers=1, seeds=1, size=1.0):
    """Replays a load of LOADS made from several seeds. size: of the workload, 1 for the benchmark's."""
    results = [simulate(LOADS[name](Random(seed), size), way, routers) for seed in range(seeds)]
    firsts = sorted(first for result in results for first in result.firsts)
    return Summary(
        firsts[len(firsts) // 2],
        firsts[99 * len(firsts) // 100],
        min(result.least for result in results),
        mean(result.hit_rate for result in results),
    )


# --- loads: a generator of random numbers and a size -> a Load ---------------------------------------------------


def single(requests):
    """A workload of prompts without a conversation. requests: (seconds, prompt, tokens of the answer)."""
    sessions = [ChatSession(start, (Turn(tuple(prompt), answer, 0.0),)) for start, prompt, answer in requests]
    return Workload(tuple(sessions))


def together(*workloads):
    sessions = [session for workload in workloads for session in workload.sessions]
    return Workload(tuple(sorted(sessions, key=lambda session: session.start)))


def text(rng, tokens):
    return rng.choices(range(256, 500), k=tokens)


def arrivals(rng, number, per_second):
    return itertools.accumulate(rng.expovariate(per_second) for _ in range(number))


def unrelated(rng, number, per_second, least=100, most=2000, answer=32):
    return single((at, text(rng, rng.randint(least, most)), answer) for at in arrivals(rng, number, per_second))


def question(rng):
    return text(rng, rng.randint(32, 160))


def one_system_prompt(rng, number, per_second):
    system = text(rng, 1024)
    return single((at, system + question(rng), 32) for at in arrivals(rng, number, per_second))


def chats(rng, number, per_second=16.0):
    return conversations(rng.randrange(2**32), sessions=number, arrivals_per_second=per_second)


def in_bursts(rng, number, at_once=48, every=2.0):
    systems = [text(rng, 512) for _ in range(6)]
    return single((every * n, rng.choice(systems) + question(rng), 32) for n in range(number) for _ in range(at_once))


def mixed(rng, size):
    return together(
        unrelated(rng, int(60 * size), 5), one_system_prompt(rng, int(240 * size), 20), chats(rng, int(48 * size), 4)
    )


LOADS = {
    "unrelated prompts": lambda rng, size: Load(unrelated(rng, int(300 * size), 13)),
    "one system prompt": lambda rng, size: Load(one_system_prompt(rng, int(600 * size), 120)),
    "one system prompt, slowly": lambda rng, size: Load(one_system_prompt(rng, int(120 * size), 1)),
    "multi-turn": lambda rng, size: Load(chats(rng, int(96 * size))),
    "mixed": lambda rng, size: Load(mixed(rng, size)),
    "bursts": lambda rng, size: Load(in_bursts(rng, int(12 * size))),
    "workers added and killed": lambda rng, size: Load(
        together(unrelated(rng, int(60 * size), 6), chats(rng, int(64 * size), 6)),
        ((2.0, -1), (4.0, +1), (6.0, -1), (7.0, +1), (8.0, +1)),
    ),
    "long answers": lambda rng, size: Load(
        unrelated(rng, int(300 * size), 20, least=50, most=250, answer=400),
        options=replace(OPTIONS, slots=16, tokens_per_delta=50),
    ),
}
