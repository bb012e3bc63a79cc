"""More lost workers than a request may lose, and lost routers."""

import asyncio
import os
import signal
import time
from contextlib import suppress

import pytest
from echo_graphs import (
    BOUND,
    DEADLY,
    WorkerLoads,
    is_idle,
    poll_until,
    ready_workers,
    received_requests,
    serve,
    wait_for_status,
)
from http_client import COMPLETION, ClientAnswer, echoed, send

from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

PROMPT, COUNT, RATE, BLOCK = "the quick brown fox jumps over the lazy dog", 150, 500, 8
TEXT, _ = echoed(PROMPT, COUNT)


def body(**fields):
    return {"model": "tiny", "prompt": PROMPT, "max_tokens": COUNT, "temperature": 0, **fields}


def stream(**fields):
    return body(stream=True, stream_options={"include_usage": True}, **fields)


def served(project, link, *args):
    return serve(project, link, f"--Echo.tokens_per_second={RATE}", f"--Echo.block_size={BLOCK}", *args)


@pytest.fixture(scope="module", params=["direct", "routed"])
def link(request):
    return request.param


@pytest.fixture(scope="module")
def limited_graph(link, module_project):
    """A graph in which a request may lose one worker, but not two."""
    with served(module_project, link, "--Echo.ServiceArgs.workers=4", "--Text.migration_limit=1") as deployment:
        yield deployment


@pytest.mark.parametrize("request_body", [stream(), body()], ids=["stream", "complete answer"])
def test_more_lost_workers_than_the_limit_are_an_error(limited_graph, request_body):
    async def main():
        victim = 0
        answer = ClientAnswer(limited_graph.urls["Api"], request_body)
        for blocks in (5, 10):
            await wait_for_status(limited_graph, lambda state, victim=victim: victim not in ready_workers(state))
            async with WorkerLoads.of(limited_graph) as loads:
                await loads.until(lambda blocks=blocks: loads.sum[2] >= blocks)
                (victim,) = loads.busy
                os.kill(ready_workers(limited_graph.status)[victim], signal.SIGKILL)
        result = await answer.task
        await poll_until(lambda: is_idle(limited_graph))
        assert (await send(limited_graph.urls["Api"], COMPLETION, body()))[2]["choices"][0]["text"] == TEXT
        return result

    answer = portal.run(main(), BOUND)
    if request_body.get("stream"):
        *events, error = answer
        assert events
        assert TEXT.startswith("".join(event["choices"][0]["text"] for event in events))
    else:
        status, _, error = answer
        assert status == 503
    assert error["error"]["type"] == "server_error"
    assert "try again" in error["error"]["message"]


def test_a_request_that_kills_its_worker_does_not_reach_all_workers(limited_graph):
    async def main():
        before = ready_workers(limited_graph.status)
        status, _, answer = await send(limited_graph.urls["Api"], COMPLETION, body(prompt=[DEADLY, 7]))
        await wait_for_status(
            limited_graph, lambda state: len(ready_workers(state)) == len(before) and ready_workers(state) != before
        )
        await poll_until(lambda: is_idle(limited_graph))
        assert (await send(limited_graph.urls["Api"], COMPLETION, body()))[2]["choices"][0]["text"] == TEXT
        return status, answer, len(before.keys() - ready_workers(limited_graph.status).keys())

    status, answer, lost = portal.run(main(), BOUND)
    assert (status, answer["error"]["type"], lost) == (503, "server_error", 2)


def test_when_all_workers_are_killed_repeatedly_clients_get_an_error(limited_graph, figures):
    async def kill_all():
        while True:
            await wait_for_status(limited_graph, ready_workers)
            for pid in ready_workers(limited_graph.status).values():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed = set(ready_workers(limited_graph.status))
            await wait_for_status(limited_graph, lambda state, killed=killed: not killed & set(ready_workers(state)))

    async def main():
        url = limited_graph.urls["Api"]
        long = {"max_tokens": 20 * COUNT}  # none ends before the second kill, even on a busy machine
        answers = [ClientAnswer(url, kind(n=n, **long)) for kind in (stream, body) for n in (1, 2)]
        await answers[0].wait_for_events(10)
        killing, begun = asyncio.create_task(kill_all()), time.monotonic()
        try:
            results = await asyncio.gather(*(answer.task for answer in answers))
        finally:
            killing.cancel()
        took = time.monotonic() - begun
        await poll_until(lambda: is_idle(limited_graph))
        return results, took

    (*streams, one, two), took = portal.run(main(), BOUND)
    assert {one[0], two[0]} == {503}
    errors = [*(events[-1] for events in streams), one[2], two[2]]
    assert {error["error"]["type"] for error in errors} == {"server_error"}
    figures(error_after_s=round(took, 1))


def test_a_worker_that_has_gone_before_it_was_called_does_not_count_as_lost(project):
    with served(project, "stale", "--Text.migration_limit=0") as graph:
        _, _, answer = portal.run(send(graph.urls["Api"], COMPLETION, body()), BOUND)
    assert answer["choices"][0]["text"] == TEXT


def test_answers_survive_the_death_of_the_router(project):
    async def main(graph):
        url = graph.urls["Api"]
        answers = [ClientAnswer(url, stream()) for _ in range(4)]
        for answer in answers:
            await answer.wait_for_events(5)
        (router,) = ready_workers(graph.status, "Router").values()
        os.kill(router, signal.SIGKILL)
        answers.append(ClientAnswer(url, stream()))  # waits for the new router
        names = [await answer.check_complete() for answer in answers]
        await poll_until(lambda: is_idle(graph))
        return [
            name
            for name in names[:-1]
            if any(count for request, count in await received_requests(graph) if name in request)
        ]

    with served(project, "routed", "--Echo.ServiceArgs.workers=2", "--Text.migration_limit=0") as graph:
        assert portal.run(main(graph), BOUND) == []
