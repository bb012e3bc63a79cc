"""Workers that are killed or replaced in the middle of answers: clients of a whole graph see nothing of it."""

import asyncio
import os
import signal
from random import Random

import pytest
from echo_graphs import BOUND, WorkerLoads, ready_workers, received_requests, serve, wait_for_status
from http_client import COMPLETION, ClientAnswer, send

from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

COUNT, RATE, BLOCK = 150, 500, 8  # tokens of an answer, tokens per second, tokens in a block
KILLS = 50
WORKERS = 8  # enough that each has served for a while before it is killed; restarts would be delayed otherwise


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


def test_an_answer_whose_worker_is_killed_at_any_token_is_unchanged(graph, figures):
    random = Random(5)
    kinds = [stream(), stream(), stream(n=3), body()]

    async def kill(url):
        """Kills the worker of an answer at a random token; returns after how many tokens another worker continued."""
        await wait_for_status(graph, lambda state: len(ready_workers(state)) >= 2)
        kind, at = random.choice(kinds), random.randrange(COUNT)
        async with WorkerLoads.of(graph) as loads:
            answer = ClientAnswer(url, kind)
            if kind.get("stream"):
                await answer.wait_for_events(at * answer.n)
            progress = asyncio.create_task(loads.until(lambda: loads.sum[2] > at // BLOCK))
            await asyncio.wait({progress, answer.task}, return_when=asyncio.FIRST_COMPLETED)
            progress.cancel()
            victim = random.choice(loads.busy or [0])
            if victim:
                os.kill(ready_workers(graph.status)[victim], signal.SIGKILL)
            name = await answer.check_complete()
        await wait_for_status(graph, lambda state: ready_workers(state) and victim not in ready_workers(state))
        return [
            count for request, count in await received_requests(graph) if request.startswith(name) and "~" in request
        ]

    async def main():
        migrated, rounds = [], 0
        while len(migrated) < KILLS:
            migrated += await kill(graph.urls["Api"])
            rounds += 1
            assert rounds < 2 * KILLS
        return migrated, rounds

    migrated, rounds = portal.run(main(), BOUND)
    figures(rounds=rounds, migrated=len(migrated), after_tokens=sorted(migrated))


async def send_until(ended, url):
    """Sends short requests, one after the other; returns their statuses."""
    statuses = []
    while not ended.is_set():
        status, *_ = await send(url, COMPLETION, body(max_tokens=4))
        statuses.append(status)
    return statuses


def test_workers_that_are_replaced_finish_their_answers(link, project, figures):
    """They are scaled, restarted and reconfigured, while other requests are answered."""

    def steps(graph):
        yield graph.scale(Echo=1)
        yield graph.scale(Echo=3)
        yield graph.restart("Echo")
        yield graph.update({"Echo.tokens_per_second": RATE + 1})
        yield graph.scale(Echo=1)

    async def main(graph):
        url, ended, names = graph.urls["Api"], asyncio.Event(), []
        others = [asyncio.create_task(send_until(ended, url)) for _ in range(3)]
        for step in steps(graph):
            answers = [ClientAnswer(url, stream()) for _ in range(6)]
            for answer in answers:
                await answer.wait_for_events(random.randrange(1, COUNT // 2))
            before = ready_workers(graph.status)
            await step
            assert ready_workers(graph.status) != before
            names += [await answer.check_complete() for answer in answers]
            moved = [request for request, count in await received_requests(graph) if count]
            assert not [name for name in names if any(request.startswith(name) for request in moved)]
        ended.set()
        return len(names), [status for statuses in await asyncio.gather(*others) for status in statuses]

    random = Random(3)
    with served(project, link, "--Echo.ServiceArgs.workers=2") as graph:
        count, statuses = portal.run(main(graph), BOUND)
    assert set(statuses) == {200}
    figures(streams=count, other_requests=len(statuses))
