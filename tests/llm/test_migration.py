"""Workers that are lost, and that go, in the middle of answers: through whole graphs over HTTP nothing of it is seen."""

import asyncio
import os
import signal
from random import Random

import pytest
from graph_parts import BOUND, Loads, came, ready, serve, settled
from http_parts import COMPLETION, Told, ask

from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

COUNT, RATE, BLOCK = 150, 500, 8  # tokens of an answer, a second, and in a block
KILLS = 50
WORKERS = 8  # so many that each has served for a while when it is killed: else it is started again later each time


def body(**given):
    prompt = "the quick brown fox jumps over the lazy dog"
    return {"model": "tiny", "prompt": prompt, "max_tokens": COUNT, "temperature": 0, **given}


def stream(**given):
    return body(stream=True, stream_options={"include_usage": True}, **given)


@pytest.fixture(scope="module", params=["direct", "routed"])
def link(request):
    return request.param


def served(project, link, *args):
    return serve(project, link, f"--Echo.tokens_per_second={RATE}", f"--Echo.block_size={BLOCK}", *args)


@pytest.fixture(scope="module")
def graph(link, module_project):
    with served(module_project, link, f"--Echo.ServiceArgs.workers={WORKERS}") as deployment:
        yield deployment


def test_an_answer_whose_worker_is_killed_at_any_token_is_what_it_would_have_been(graph, figures):
    random = Random(5)
    kinds = [stream(), stream(), stream(n=3), body()]

    async def kill(url):
        """Kills the worker of an answer at some token; gives after how many tokens another one went on with it."""
        await settled(graph, lambda state: len(ready(state)) >= 2)
        asked, at = random.choice(kinds), random.randrange(COUNT)
        async with Loads.of(graph) as loads:
            told = Told(url, asked)
            if asked.get("stream"):
                await told.has(at * told.n)
            far = asyncio.create_task(loads.until(lambda: loads.sum[2] > at // BLOCK))
            await asyncio.wait({far, told.task}, return_when=asyncio.FIRST_COMPLETED)
            far.cancel()
            victim = random.choice(loads.busy or [0])
            if victim:
                os.kill(ready(graph.status)[victim], signal.SIGKILL)
            name = await told.whole()
        await settled(graph, lambda state: ready(state) and victim not in ready(state))
        return [made for request, made in await came(graph) if request.startswith(name) and "~" in request]

    async def main():
        migrated, rounds = [], 0
        while len(migrated) < KILLS:
            migrated += await kill(graph.urls["Api"])
            rounds += 1
            assert rounds < 2 * KILLS
        return migrated, rounds

    migrated, rounds = portal.run(main(), BOUND)
    figures(rounds=rounds, migrated=len(migrated), after_tokens=sorted(migrated))


async def asked_again_and_again(url, until):
    """Short requests, one after the other; gives their statuses."""
    statuses = []
    while not until.is_set():
        status, *_ = await ask(url, COMPLETION, body(max_tokens=4))
        statuses.append(status)
    return statuses


def test_workers_that_go_in_good_order_finish_their_answers(link, project, figures):
    """By scaling, by replacing them, by another configuration; meanwhile others are answered."""

    def steps(graph):
        yield graph.scale(Echo=1)
        yield graph.scale(Echo=3)
        yield graph.restart("Echo")
        yield graph.update({"Echo.tokens_per_second": RATE + 1})
        yield graph.scale(Echo=1)

    async def main(graph):
        url, ended, names = graph.urls["Api"], asyncio.Event(), []
        others = [asyncio.create_task(asked_again_and_again(url, ended)) for _ in range(3)]
        for step in steps(graph):
            going = [Told(url, stream()) for _ in range(6)]
            for told in going:
                await told.has(random.randrange(1, COUNT // 2))
            before = ready(graph.status)
            await step
            assert ready(graph.status) != before
            names += [await told.whole() for told in going]
            moved = [request for request, made in await came(graph) if made]
            assert not [name for name in names if any(request.startswith(name) for request in moved)]
        ended.set()
        return len(names), [status for told in await asyncio.gather(*others) for status in told]

    random = Random(3)
    with served(project, link, "--Echo.ServiceArgs.workers=2") as graph:
        count, statuses = portal.run(main(graph), BOUND)
    assert set(statuses) == {200}
    figures(streams=count, other_requests=len(statuses))
