"""Clients that go away at every stage of a request, through whole graphs over HTTP; and too many of them at once."""

import asyncio
import re
import time
from contextlib import AsyncExitStack
from random import Random

import openai
import pytest
from graph_parts import BOUND, Loads, calls_of, serve, steady_tasks, tasks_of, until
from http_parts import COMPLETION, ask, asking, echoed

from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

SLOTS, RATE, PREFILL_RATE, BLOCK = 4, 400, 4000, 16
PROMPT = "the quick brown fox"  # of fewer tokens than a block has
LONG_PREFILL = 2 * PREFILL_RATE  # tokens
LONG_TEXT = " language" * 80_000  # which is tokenised for some tenths of a second, and fits into the context
AT_ONCE, EACH = 8, 25  # clients, and requests that each of them leaves


@pytest.fixture(scope="module", params=["direct", "routed"])
def graph(request, module_project):
    args = [f"--Echo.slots={SLOTS}", f"--Echo.tokens_per_second={RATE}", f"--Echo.block_size={BLOCK}"]
    args += [f"--Echo.prefill_tokens_per_second={PREFILL_RATE}", "--Echo.max_model_len=131072", "--Echo.blocks=8192"]
    with serve(module_project, request.param, *args) as deployment:
        portal.run(is_served(deployment), BOUND)  # from now on everyone is connected
        yield deployment


def body(prompt=PROMPT, **given):
    return {"model": "tiny", "prompt": prompt, "max_tokens": 4000, **given}


async def begun_stream(held, url, body):
    """A stream whose first token is there; nobody reads on."""
    request = await held.enter_async_context(asking(url, COMPLETION, body))
    assert (await request.head())[0] == 200


async def is_served(graph):
    text, _ = echoed(PROMPT, 8)
    status, _, answer = await ask(graph.urls["Api"], COMPLETION, body(max_tokens=8))
    assert (status, answer["choices"][0]["text"]) == (200, text)


async def left(graph):
    """How many requests of clients that went away the frontend has seen the end of."""
    async with asyncio.timeout(BOUND), asking(graph.urls["Api"], "/metrics", b"", method="GET") as request:
        page = await request.text()
    return sum(
        float(n) for n in re.findall(r'^dynamo_frontend_requests_total\{.*status="499"\} (.*)$', page, re.MULTILINE)
    )


async def nothing_is_left(graph, tasks):
    """tasks: that there were before."""

    async def no_more():
        return await tasks_of(graph) <= tasks

    await until(lambda: is_true(graph.Api.admitted(), 0))
    await until(lambda: is_true(calls_of(graph), {}))
    await until(no_more)


async def is_true(asked, wanted):
    return await asked == wanted


async def is_at_least(asked, wanted):
    return await asked >= wanted


# Each stage: what is asked, how much of it is sent, and what is waited for before the client goes away; prompts: that
# had been tokenised before, n: the choices of this request.


async def at_once(graph, loads, request, prompts, n):
    pass


async def while_it_is_tokenised(graph, loads, request, prompts, n):
    await graph.Text.begun(prompts + n)


async def in_the_queue(graph, loads, request, prompts, n):
    await loads.until(lambda: loads.sum[:2] == (SLOTS, n))


async def during_prefill(graph, loads, request, prompts, n):
    await loads.until(lambda: loads.sum[0] == 1 and loads.sum[2] == LONG_PREFILL // BLOCK)


async def at_the_first_token(graph, loads, request, prompts, n):
    await loads.until(lambda: loads.sum[0] == n)
    assert (await request.head())[0] == 200
    await anext(request.events())


async def in_the_midst(graph, loads, request, prompts, n):
    await loads.until(lambda: loads.sum[0] == n and loads.sum[2] > n)


STAGES = {
    "half a body": (at_once, {}, 0.5),
    "while it is tokenised": (while_it_is_tokenised, {"prompt": LONG_TEXT}, 1),
    "in the queue": (in_the_queue, {}, 1),
    "during prefill": (during_prefill, {"prompt": [7] * LONG_PREFILL}, 1),
    "at the first token": (at_the_first_token, {"stream": True}, 1),
    "in the midst of a stream": (in_the_midst, {"stream": True}, 1),
    "in the midst of an answer that is told whole": (in_the_midst, {}, 1),
    "four choices while they are tokenised": (while_it_is_tokenised, {"prompt": LONG_TEXT, "n": 4, "stream": True}, 1),
    "four choices in the queue": (in_the_queue, {"n": 4, "stream": True}, 1),
    "four choices at the first token": (at_the_first_token, {"n": 4, "stream": True}, 1),
    "four choices in the midst": (in_the_midst, {"n": 4, "stream": True}, 1),
    "four choices that are told whole": (in_the_midst, {"n": 4}, 1),
}


@pytest.mark.parametrize(("stage", "given", "share"), STAGES.values(), ids=STAGES)
def test_what_a_client_that_goes_away_had_is_free_at_once(graph, stage, given, share, figures):
    async def main():
        url, tasks, seen = graph.urls["Api"], await steady_tasks(graph), await left(graph)
        async with Loads.of(graph) as loads, AsyncExitStack() as held:
            others = SLOTS if stage is in_the_queue else 0
            for number in range(others):
                await begun_stream(held, url, body([number + 10], stream=True))
            prompts = await graph.Text.begun(0)
            async with asking(url, COMPLETION, body(**given), share) as request:
                await stage(graph, loads, request, prompts, given.get("n", 1))
                begun = time.monotonic()
            if stage in {at_once, while_it_is_tokenised}:
                await until(lambda: is_true(left(graph), seen + 1))
                freed = time.monotonic()
            else:
                await loads.until(lambda: loads.sum[:2] == (others, 0))
                freed = loads.at
            await held.aclose()
            await loads.free()
        await nothing_is_left(graph, tasks)
        await is_served(graph)
        return freed - begun

    figures(free_after_ms=round(1e3 * portal.run(main(), BOUND), 1))


def test_of_two_hundred_that_go_away_nothing_stays(graph, figures):
    """Clients side by side, each of which leaves its requests wherever they happen to be."""
    random = Random(11)
    kinds = [{}, {"stream": True}, {"stream": True, "n": 4}, {"n": 3}]
    prompts = [PROMPT, PROMPT, [7] * 500, [8] * LONG_PREFILL, LONG_TEXT]
    resets = 0  # of which the frontend may not have seen a request at all

    async def client(url, loads):
        nonlocal resets
        for _ in range(EACH):
            asked = body(random.choice(prompts), **random.choice(kinds))
            share, events = random.choice([0.3, 1, 1, 1]), random.choice([0, 0, 1, 5])
            async with asking(url, COMPLETION, asked, share) as request:
                if share < 1:
                    continue
                if random.random() < 0.3:
                    request.reset()
                    resets += 1
                elif asked["prompt"] is LONG_TEXT:
                    await graph.Text.tasks()  # by then it is being tokenised, or waits for that
                elif not (asked.get("stream") and asked["prompt"] is PROMPT):
                    await loads.change()  # of anyone's request
                elif events:
                    await request.head()
                    told = request.events()
                    for _ in range(events):
                        await anext(told)

    async def main():
        url, tasks, seen = graph.urls["Api"], await steady_tasks(graph), await left(graph)
        async with Loads.of(graph) as loads:
            begun = time.monotonic()
            await asyncio.gather(*(client(url, loads) for _ in range(AT_ONCE)))
            ended = time.monotonic()
            freed = await loads.free()
        await until(lambda: is_at_least(left(graph), seen + AT_ONCE * EACH - resets))
        await nothing_is_left(graph, tasks)
        await is_served(graph)
        return ended - begun, freed - ended

    took, freed = portal.run(main(), BOUND)
    figures(clients_left=AT_ONCE * EACH, within_s=round(took, 1), free_after_the_last_ms=round(1e3 * freed, 1))


LIMIT, BEYOND = 4, 100
ENDLESS = 120_000  # tokens: more than the sockets between here and there have room for


@pytest.fixture(scope="module")
def small(module_project):
    args = [f"--Api.max_running={LIMIT}", "--Echo.max_model_len=131072", "--Echo.blocks=16384"]
    with serve(module_project, "direct", *args) as deployment:
        yield deployment


def test_what_is_too_much_is_told_at_once_and_waits_nowhere(small, figures):
    """As much as may be is asked for by clients that do not read it."""
    url = small.urls["Api"]

    async def main():
        tasks = await steady_tasks(small)
        async with Loads.of(small) as loads, AsyncExitStack() as held:
            for number in range(LIMIT):
                await begun_stream(held, url, body([number + 10], max_tokens=ENDLESS, stream=True))
            await loads.until(lambda: loads.sum[0] == LIMIT)
            begun = time.monotonic()
            refused = await asyncio.gather(*(ask(url, COMPLETION, body(stream=n % 2 == 1)) for n in range(BEYOND)))
            took = time.monotonic() - begun
            calls = await calls_of(small)
            load = loads.sum[:2]
            with openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as client:
                error = await asyncio.to_thread(rate_limited, client)
        async with Loads.of(small) as loads:
            await loads.free()
        came = await small.Echo.came()
        await nothing_is_left(small, tasks)
        await is_served(small)
        return refused, took, calls, load, error, len(came)

    refused, took, calls, load, error, came = portal.run(main(), BOUND)
    assert {status for status, *_ in refused} == {429}
    assert {(answer["error"]["type"], answer["error"]["code"]) for *_, answer in refused} == {
        ("rate_limit_error", "rate_limit_exceeded")
    }
    assert all(int(headers["retry-after"]) > 0 for _, headers, _ in refused)
    assert load == (LIMIT, 0)
    assert came == LIMIT
    assert set(calls.values()) == {LIMIT}
    assert error.response.headers["retry-after"]
    figures(refused=BEYOND, all_within_ms=round(1e3 * took, 1))


def rate_limited(client):
    with pytest.raises(openai.RateLimitError) as raised:
        client.completions.create(model="tiny", prompt=PROMPT)
    return raised.value
