"""Workers that are lost more often than a request may lose one; and what is lost beside workers."""

import asyncio
import os
import signal
import time
from contextlib import suppress

import pytest
from graph_parts import BOUND, DEADLY, Loads, came, is_free, ready, serve, settled, until
from http_parts import COMPLETION, Told, ask, echoed

from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

PROMPT, COUNT, RATE, BLOCK = "the quick brown fox jumps over the lazy dog", 150, 500, 8
TEXT, _ = echoed(PROMPT, COUNT)


def body(**given):
    return {"model": "tiny", "prompt": PROMPT, "max_tokens": COUNT, "temperature": 0, **given}


def stream(**given):
    return body(stream=True, stream_options={"include_usage": True}, **given)


def served(project, link, *args):
    return serve(project, link, f"--Echo.tokens_per_second={RATE}", f"--Echo.block_size={BLOCK}", *args)


@pytest.fixture(scope="module", params=["direct", "routed"])
def link(request):
    return request.param


@pytest.fixture(scope="module")
def limited(link, module_project):
    """A request may lose one worker, not two."""
    with served(module_project, link, "--Echo.ServiceArgs.workers=4", "--Text.migration_limit=1") as deployment:
        yield deployment


@pytest.mark.parametrize("asked", [stream(), body()], ids=["in a stream", "as a whole"])
def test_more_lost_workers_than_are_allowed_are_told(limited, asked):
    async def main():
        victim = 0
        told = Told(limited.urls["Api"], asked)
        for blocks in (5, 10):
            await settled(limited, lambda state, victim=victim: victim not in ready(state))
            async with Loads.of(limited) as loads:
                await loads.until(lambda blocks=blocks: loads.sum[2] >= blocks)
                (victim,) = loads.busy
                os.kill(ready(limited.status)[victim], signal.SIGKILL)
        answer = await told.task
        await until(lambda: is_free(limited))
        assert (await ask(limited.urls["Api"], COMPLETION, body()))[2]["choices"][0]["text"] == TEXT
        return answer

    answer = portal.run(main(), BOUND)
    if asked.get("stream"):
        *events, error = answer
        assert events
        assert TEXT.startswith("".join(event["choices"][0]["text"] for event in events))
    else:
        status, _, error = answer
        assert status == 503
    assert error["error"]["type"] == "server_error"
    assert "try again" in error["error"]["message"]


def test_a_request_that_kills_its_worker_does_not_go_round_them_all(limited):
    async def main():
        before = ready(limited.status)
        status, _, answer = await ask(limited.urls["Api"], COMPLETION, body(prompt=[DEADLY, 7]))
        await settled(limited, lambda state: len(ready(state)) == len(before) and ready(state) != before)
        await until(lambda: is_free(limited))
        assert (await ask(limited.urls["Api"], COMPLETION, body()))[2]["choices"][0]["text"] == TEXT
        return status, answer, len(before.keys() - ready(limited.status).keys())

    status, answer, lost = portal.run(main(), BOUND)
    assert (status, answer["error"]["type"], lost) == (503, "server_error", 2)


def test_where_every_worker_is_killed_again_and_again_the_client_is_told(limited, figures):
    async def kill_all():
        while True:
            await settled(limited, ready)
            for pid in ready(limited.status).values():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed = set(ready(limited.status))
            await settled(limited, lambda state, killed=killed: not killed & set(ready(state)))

    async def main():
        url = limited.urls["Api"]
        long = {"max_tokens": 20 * COUNT}  # none ends before the second kill, however busy the machine
        going = [Told(url, asked(n=n, **long)) for asked in (stream, body) for n in (1, 2)]
        await going[0].has(10)
        killing, begun = asyncio.create_task(kill_all()), time.monotonic()
        try:
            answers = await asyncio.gather(*(told.task for told in going))
        finally:
            killing.cancel()
        took = time.monotonic() - begun
        await until(lambda: is_free(limited))
        return answers, took

    (*streams, one, two), took = portal.run(main(), BOUND)
    assert {one[0], two[0]} == {503}
    errors = [*(events[-1] for events in streams), one[2], two[2]]
    assert {error["error"]["type"] for error in errors} == {"server_error"}
    figures(told_after_s=round(took, 1))


def test_a_worker_that_has_gone_since_it_was_chosen_is_none_that_was_lost(project):
    with served(project, "late", "--Text.migration_limit=0") as graph:
        _, _, answer = portal.run(ask(graph.urls["Api"], COMPLETION, body()), BOUND)
    assert answer["choices"][0]["text"] == TEXT


def test_a_router_that_is_killed_takes_no_answer_with_it(project):
    async def main(graph):
        url = graph.urls["Api"]
        going = [Told(url, stream()) for _ in range(4)]
        for told in going:
            await told.has(5)
        (router,) = ready(graph.status, "Router").values()
        os.kill(router, signal.SIGKILL)
        going.append(Told(url, stream()))  # waits for its successor
        names = [await told.whole() for told in going]
        await until(lambda: is_free(graph))
        return [name for name in names[:-1] if any(made for request, made in await came(graph) if name in request)]

    with served(project, "routed", "--Echo.ServiceArgs.workers=2", "--Text.migration_limit=0") as graph:
        assert portal.run(main(graph), BOUND) == []
