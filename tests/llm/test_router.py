"""The router, served with echo workers, and its parts alone."""

import asyncio
import os
import signal
from contextlib import aclosing
from pathlib import Path

import pytest
from echo_graphs import LINKS, SERVICES, poll_until, ready_workers

from dynamo_nb.llm.cache.assumed import AssumedBlocks
from dynamo_nb.llm.cache.index import BlockIndex
from dynamo_nb.llm.messages import Sampling, TextRequest, TokenRequest
from dynamo_nb.sdk.portal import portal

BOUND = 60
GRAPH = """\
from dynamo_nb.llm import EchoWorker, Frontend, Processor, Router

Frontend.link(Processor).link(Router).link(EchoWorker)
"""
# The same with a router and workers whose state tests can read. A worker can spoil one event of its first stream.
WATCHED = """\
from collections.abc import AsyncIterator
from contextlib import aclosing

from dynamo_nb import dynamo_endpoint, service
from dynamo_nb.llm import EchoEngine, EchoWorker, Frontend, Processor, Router
from dynamo_nb.llm.cache.blocks import block_hashes
from dynamo_nb.llm.messages import WorkerEvent


@service(dynamo={"namespace": "dynamo"})
class WatchedRouter(Router):
    @dynamo_endpoint()
    async def indexed(self) -> int:
        return len(self.table.index)

    @dynamo_endpoint()
    async def open_placements(self) -> int:
        return self.table.open_placements


@service(dynamo={"namespace": "dynamo"})
class WatchedWorker(EchoWorker):
    def __init__(self, block_size: int, blocks: int = 64, fault: str = "", of: str = "stored") -> None:
        super().__init__(block_size=block_size, blocks=blocks, max_model_len=blocks * block_size)
        self.fault, self.of, self.streams = fault, of, 0

    def make_engine(self):
        return EchoEngine(self.engine_options(), adapters=["style"])

    @dynamo_endpoint()
    async def held(self, tokens: list[int]) -> int:
        return self.engine.cache.leading(block_hashes(tokens, self.engine.info.block_size))

    @dynamo_endpoint()
    async def followed(self) -> int:
        return self.streams

    @dynamo_endpoint()
    async def events(self) -> AsyncIterator[WorkerEvent]:
        self.streams += 1
        fault, late = self.fault if self.streams == 1 else "", []
        async with aclosing(aiter(super().events())) as events:
            async for event in events:
                times = 1
                if fault and getattr(event, self.of):
                    times = {"lost": 0, "doubled": 2, "late": 0}[fault]
                    late, fault = [event] if fault == "late" else [], ""
                for _ in range(times):
                    yield event
                while times and late:
                    yield late.pop()


Frontend.link(Processor).link(WatchedRouter).link(WatchedWorker)
"""
BLOCK = 8
FULL = 8  # blocks of each prompt
PROMPTS = [[n + 10] * (FULL * BLOCK) for n in range(6)]

slow = pytest.mark.slow


@pytest.fixture(scope="module", params=["events", "approx"])
def graph(request, module_project):
    module_project.write("routed.py", GRAPH)
    args = ["--EchoWorker.ServiceArgs.workers=2", f"--EchoWorker.block_size={BLOCK}", "--Router.policy=overlap"]
    args += [f"--Router.router_mode={request.param}", "--Processor.served_model_name=tiny"]
    with module_project.serve("routed:Frontend", args=args).result(timeout=BOUND) as deployment:
        yield deployment


@pytest.fixture
def watched(project):
    """Serves WATCHED, with two workers."""

    def serve(*args, code=WATCHED):
        project.write("watched.py", code)
        args = [f"--WatchedWorker.block_size={BLOCK}", "--WatchedRouter.policy=overlap", *args]
        args += ["--WatchedWorker.ServiceArgs.workers=2", "--Processor.served_model_name=tiny"]
        return project.serve("watched:Frontend", args=args).result(timeout=BOUND)

    return serve


def token_request(tokens, name, **fields):
    return TokenRequest(request_id=name, tokens=tokens, sampling=Sampling(max_tokens=BLOCK), **fields)


def answer(graph, prompt, name, model="tiny", **fields):
    """The deltas of a text request through the whole graph."""
    request = TextRequest(request_id=name, model=model, prompt=prompt, sampling=Sampling(max_tokens=BLOCK), **fields)
    return graph.Processor.generate(request).result(timeout=BOUND)


async def placed(router, prompt, name="", avoid=(), instance_id=None, **fields):
    call = router.place(token_request(prompt, name, **fields), list(avoid))
    async with aclosing(aiter(call.using(instance_id=instance_id))) as placements:
        return await anext(placements)


def workers_of(graph, service):
    """Instance -> process of each worker."""
    return {int(worker.instance_id): worker.pid for worker in graph.status.services[service].workers}


@slow
def test_a_prompt_goes_to_the_worker_with_its_blocks(graph):
    for n, prompt in enumerate(PROMPTS):
        answer(graph, prompt, f"first {n}")
    for n, prompt in enumerate(PROMPTS):
        (first, *_) = answer(graph, prompt, f"again {n}")
        assert first.cached > 0
        placement = portal.run(placed(graph.Router, prompt, f"once more {n}"), BOUND)
        assert placement.overlap == FULL
    assert graph.Router.stats().result(timeout=BOUND)["hit_rate"] > 0.5


@slow
def test_a_worker_to_avoid_is_avoided_if_there_is_another(graph):
    first = portal.run(placed(graph.Router, PROMPTS[0], "avoid"), BOUND)
    other = portal.run(placed(graph.Router, PROMPTS[0], "avoid", [first.instance_id]), BOUND)
    assert other.instance_id != first.instance_id


@slow
def test_the_scores_are_on_the_trace(graph):
    request = TextRequest(request_id="t", model="tiny", prompt=PROMPTS[1], sampling=Sampling(max_tokens=4))
    trace = graph.trace(graph.Processor.generate(request)).result(timeout=BOUND)
    (notes,) = [span.notes for span in trace.spans if "scores" in span.notes]
    assert {"worker", "score", "overlap"} <= set(notes["scores"][0])
    assert notes["scores"][0]["worker"] == notes["chosen"]


@slow
def test_the_blocks_of_a_killed_worker_are_removed(graph):
    async def known():
        return (await placed(graph.Router, PROMPTS[2])).overlap == FULL

    answer(graph, PROMPTS[2], "held")
    portal.run(poll_until(known), BOUND)
    before = portal.run(placed(graph.Router, PROMPTS[2], "before"), BOUND)
    killed = workers_of(graph, "EchoWorker")
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)

    async def elsewhere():
        """Without events the router notices a lost worker when its lease ends."""
        while (after := await placed(graph.Router, PROMPTS[2], "after")).instance_id in killed:
            pass
        return after

    assert portal.run(elsewhere(), BOUND).overlap == 0
    assert before.overlap == FULL
    assert answer(graph, PROMPTS[2], "after")[0].cached == 0


async def generate_on(graph, instance_id, prompts):
    """Lets one worker answer these prompts."""
    for n, prompt in enumerate(prompts):
        call = graph.WatchedWorker.generate(token_request(prompt, f"{instance_id} {n}"))
        async for _ in call.using(instance_id=instance_id):
            pass


async def held(graph, prompt):
    """How many leading blocks of the prompt each worker holds."""
    ids = workers_of(graph, "WatchedWorker")
    return {one: await graph.WatchedWorker.held(prompt).using(instance_id=one) for one in ids}


async def indexed(graph, prompt):
    """The same according to the router."""
    ids = workers_of(graph, "WatchedWorker").keys()
    return {one: (await placed(graph.WatchedRouter, prompt, avoid=ids - {one})).overlap for one in ids}


@slow
@pytest.mark.parametrize(
    ("fault", "of"), [("lost", "stored"), ("lost", "removed"), ("doubled", "stored"), ("late", "stored")]
)
def test_lost_duplicate_or_late_events_make_the_router_open_the_stream_again(watched, fault, of):
    """The cache of each worker has space for two of its three prompts."""
    args = [f"--WatchedWorker.fault={fault}", f"--WatchedWorker.of={of}", f"--WatchedWorker.blocks={2 * FULL + 2}"]

    async def right():
        return all([await indexed(graph, prompt) == await held(graph, prompt) for prompt in PROMPTS])

    async def recover():
        one, other = workers_of(graph, "WatchedWorker")
        await generate_on(graph, one, PROMPTS[:3])
        await generate_on(graph, other, PROMPTS[3:])
        await poll_until(right)
        streams = [await graph.WatchedWorker.followed().using(instance_id=each) for each in (one, other)]
        before = await graph.WatchedRouter.stats()
        placements = [(await placed(graph.WatchedRouter, prompt), await held(graph, prompt)) for prompt in PROMPTS]
        after = await graph.WatchedRouter.stats()
        return streams, placements, {name: after[name] - before[name] for name in ("requests", "blocks", "overlap")}

    with watched(*args) as graph:
        streams, placements, counted = portal.run(recover(), BOUND)
    assert streams == [2, 2]
    assert [placement.overlap for placement, counts in placements] == [
        counts[placement.instance_id] for placement, counts in placements
    ]
    full = [(placement.overlap, counts) for placement, counts in placements if FULL in counts.values()]
    assert 0 < len(full) < len(PROMPTS)
    assert {overlap for overlap, _ in full} == {FULL}
    overlap = sum(placement.overlap for placement, _ in placements)
    assert counted == {"requests": len(PROMPTS), "blocks": FULL * len(PROMPTS), "overlap": overlap}


@slow
def test_a_worker_with_invalid_events_still_gets_requests(watched):
    """The endpoint is annotated with lists, so that events arrive as lists."""

    async def logged():
        return "the router ignores them" in await asyncio.to_thread(log.read_text)

    with watched(code=WATCHED.replace("AsyncIterator[WorkerEvent]", "AsyncIterator[list]")) as graph:
        (router,) = graph.status.services["WatchedRouter"].workers
        log = Path(router.log)
        answer(graph, PROMPTS[0], "first")
        portal.run(poll_until(logged), BOUND)
        assert portal.run(placed(graph.WatchedRouter, PROMPTS[0]), BOUND).overlap == 0


@slow
def test_the_index_keeps_no_block_of_a_killed_worker(watched):
    async def knows(blocks):
        return await graph.WatchedRouter.indexed() == blocks

    with watched() as graph:
        (one, pid), (other, _) = workers_of(graph, "WatchedWorker").items()
        portal.run(generate_on(graph, one, PROMPTS[:2]), BOUND)
        portal.run(generate_on(graph, other, PROMPTS[2:3]), BOUND)
        portal.run(poll_until(lambda: knows(3 * FULL)), BOUND)
        os.kill(pid, signal.SIGKILL)
        portal.run(poll_until(lambda: knows(FULL)), BOUND)
        assert portal.run(placed(graph.WatchedRouter, PROMPTS[0]), BOUND).overlap == 0
        left = portal.run(placed(graph.WatchedRouter, PROMPTS[2]), BOUND)
        assert (left.overlap, left.instance_id) == (FULL, other)


@slow
def test_salts_and_adapters_do_not_share_blocks(watched):
    prompt = PROMPTS[0]
    kinds = [{}, {"salt": "mine"}, {"adapter": "style"}, {"adapter": "style", "salt": "mine"}]

    async def overlaps():
        return [(await placed(graph.WatchedRouter, prompt, **kind)).overlap for kind in kinds]

    async def published(count):
        return (await overlaps()).count(FULL) == count

    with watched() as graph:
        for n, kind in enumerate(kinds):
            (first, *_) = answer(graph, prompt, f"{n}", model=kind.get("adapter", "tiny"), salt=kind.get("salt", ""))
            assert first.cached == 0
            portal.run(poll_until(lambda n=n: published(n + 1)), BOUND)
            assert portal.run(overlaps(), BOUND) == [FULL] * (n + 1) + [0] * (len(kinds) - n - 1)


@slow
def test_each_of_two_routers_follows_all_workers(watched):
    async def all_known():
        routers = list(workers_of(graph, "WatchedRouter"))
        for prompt, worker in zip(PROMPTS, 3 * list(workers_of(graph, "WatchedWorker")), strict=True):
            await generate_on(graph, worker, [prompt])

            async def known(prompt=prompt, worker=worker):
                placements = [await placed(graph.WatchedRouter, prompt, instance_id=router) for router in routers]
                return all((placement.overlap, placement.instance_id) == (FULL, worker) for placement in placements)

            await poll_until(known)
        return routers

    with watched("--WatchedRouter.ServiceArgs.workers=2") as graph:
        assert len(portal.run(all_known(), BOUND)) == 2


def test_assumed_blocks_expire_after_the_last_placement():
    index = BlockIndex()
    assumed = AssumedBlocks(index, 10.0)
    assumed.place(0.0, 1, [1, 2, 3, 4])
    assumed.place(0.0, 2, [1, 2])
    assumed.place(6.0, 1, [1, 2])
    assumed.expire(9.9)
    assert index.find([1, 2, 3, 4]) == {1: 4, 2: 2}
    assumed.expire(10.0)
    assert index.find([1, 2, 3, 4]) == {1: 2}
    assumed.place(12.0, 1, [1, 2, 3])
    assumed.expire(16.0)
    assert index.find([1, 2, 3, 4]) == {1: 3}
    assumed.expire(22.0)
    assert len(index) == 0


def test_assumed_blocks_of_a_removed_worker_are_removed():
    index = BlockIndex()
    assumed = AssumedBlocks(index, 10.0)
    assumed.place(0.0, 1, [1, 2])
    assumed.drop(1)
    assert len(index) == 0
    assumed.place(5.0, 1, [1, 2])
    assumed.expire(10.0)
    assert index.find([1, 2]) == {1: 2}


@slow
def test_a_worker_that_starts_while_another_reports_its_model_is_followed(watched, tmp_path):
    gate = tmp_path / "gate"
    slow = f"""
    @dynamo_endpoint()
    async def info(self) -> ModelInfo:
        while Path({str(gate)!r}).exists():
            await asyncio.sleep(0.02)
        return await super().info()

    @dynamo_endpoint()
    async def followed("""
    head = "import asyncio\nfrom pathlib import Path\nfrom dynamo_nb.llm.messages import ModelInfo\n"
    code = head + WATCHED.replace("\n    @dynamo_endpoint()\n    async def followed(", slow)

    async def all_followed():
        return all([await graph.WatchedWorker.followed().using(instance_id=one) for one in workers])

    with watched(code=code) as graph:
        gate.touch()
        graph.scale(WatchedWorker=4).result()
        gate.unlink()
        workers = workers_of(graph, "WatchedWorker")
        portal.run(asyncio.wait_for(poll_until(all_followed), BOUND))


CHATS, SYSTEM = 60, [7] * (20 * BLOCK)


@slow
@pytest.mark.parametrize("at_once", [1, CHATS])
@pytest.mark.parametrize("routers", [1, 2])
def test_chats_with_one_system_text_use_every_worker(project, routers, at_once):
    """The policy is the default; each chat begins with the same text and goes on with its own."""
    args = ["--Echo.ServiceArgs.workers=3", f"--Echo.block_size={BLOCK}", f"--Router.ServiceArgs.workers={routers}"]
    args += ["--Echo.tokens_per_second=2000", "--Echo.prefill_tokens_per_second=100000"]

    async def chat(graph, number, turn):
        async with turn:
            request = TextRequest(
                request_id=f"chat {number}",
                model="tiny",
                prompt=SYSTEM + [100 + number] * BLOCK,
                sampling=Sampling(max_tokens=BLOCK),
            )
            async for _ in graph.Text.generate(request):
                pass

    async def requests_of_each(graph):
        turn = asyncio.Semaphore(at_once)
        await asyncio.gather(*(chat(graph, number, turn) for number in range(CHATS)))
        return [len(await graph.Echo.received().using(instance_id=one)) for one in ready_workers(graph.status)]

    project.write("chats.py", SERVICES, LINKS["routed"])
    with project.serve("chats:Api", args=["--Text.served_model_name=tiny", *args]).result(timeout=BOUND) as graph:
        requests = portal.run(requests_of_each(graph), BOUND)
    assert sum(requests) == CHATS
    assert min(requests) >= CHATS / 3 / 2


@slow
def test_routers_know_of_each_others_placements(watched):
    """Prompts are placed by one router and not answered; the other router sends its own to the other worker."""
    prompts = [[n + 50] * (FULL * BLOCK) for n in range(12)]

    async def chosen(router, prompt):
        return (await placed(graph.WatchedRouter, prompt, instance_id=router)).instance_id

    async def choices():
        one, other = workers_of(graph, "WatchedRouter")
        call = graph.WatchedRouter.place(token_request(prompts[0], "held"), []).using(instance_id=one)
        async with aclosing(aiter(call)) as held:
            worker = (await anext(held)).instance_id
            await poll_until(lambda: knows(other, 1))
            during = {await chosen(other, prompt) for prompt in prompts[1:]}
        await poll_until(lambda: knows(other, 0))
        after = {await chosen(other, prompt) for prompt in prompts[1:]}
        return worker, during, after

    async def knows(router, placements):
        return await graph.WatchedRouter.open_placements().using(instance_id=router) == placements

    with watched("--WatchedRouter.ServiceArgs.workers=2", "--WatchedRouter.policy=first_token") as graph:
        worker, during, after = portal.run(choices(), BOUND)
        assert worker not in during
        assert worker in after


@slow
def test_the_placements_of_a_killed_router_are_removed(watched):
    async def knows(router, placements):
        return await graph.WatchedRouter.open_placements().using(instance_id=router) == placements

    async def kill():
        (one, pid), (other, _) = workers_of(graph, "WatchedRouter").items()
        call = graph.WatchedRouter.place(token_request(PROMPTS[0], "held"), []).using(instance_id=one)
        async with aclosing(aiter(call)) as held:
            await anext(held)
            await poll_until(lambda: knows(other, 1))
            os.kill(pid, signal.SIGKILL)
            await poll_until(lambda: knows(other, 0))

    with watched("--WatchedRouter.ServiceArgs.workers=2") as graph:
        portal.run(kill(), BOUND)


@slow
def test_routers_without_events_assume_the_blocks_that_other_routers_placed(watched):
    async def known(router):
        return await graph.WatchedRouter.indexed().using(instance_id=router) == FULL

    async def place_and_ask():
        one, other = workers_of(graph, "WatchedRouter")
        first = await placed(graph.WatchedRouter, PROMPTS[0], instance_id=one)
        await poll_until(lambda: known(other))
        return first, await placed(graph.WatchedRouter, PROMPTS[0], instance_id=other)

    with watched("--WatchedRouter.ServiceArgs.workers=2", "--WatchedRouter.router_mode=approx") as graph:
        first, second = portal.run(place_and_ask(), BOUND)
        assert (first.overlap, second.overlap) == (0, FULL)
        assert second.instance_id == first.instance_id
