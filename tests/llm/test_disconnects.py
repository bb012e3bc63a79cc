"""Clients that close the connection at every stage of a request to a whole graph, and too many clients at once."""

import asyncio
import re
import time
from contextlib import AsyncExitStack
from random import Random

import openai
import pytest
from echo_graphs import BOUND, WorkerLoads, open_calls, poll_until, serve, steady_tasks, tasks_of
from http_client import COMPLETION, echoed, open_request, send

from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

SLOTS, RATE, PREFILL_RATE, BLOCK = 4, 400, 4000, 16
PROMPT = "the quick brown fox"  # fewer tokens than a block
LONG_PREFILL = 2 * PREFILL_RATE  # tokens
LONG_TEXT = " language" * 80_000  # fits into the context; takes some tenths of a second to tokenise
AT_ONCE, EACH = 8, 25  # clients, and requests that each of them abandons


@pytest.fixture(scope="module", params=["direct", "routed"])
def graph(request, module_project):
    args = [f"--Echo.slots={SLOTS}", f"--Echo.tokens_per_second={RATE}", f"--Echo.block_size={BLOCK}"]
    args += [f"--Echo.prefill_tokens_per_second={PREFILL_RATE}", "--Echo.max_model_len=131072", "--Echo.blocks=8192"]
    with serve(module_project, request.param, *args) as deployment:
        portal.run(is_served(deployment), BOUND)  # now all services are connected
        yield deployment


def body(prompt=PROMPT, **fields):
    return {"model": "tiny", "prompt": prompt, "max_tokens": 4000, **fields}


async def begun_stream(held, url, body):
    """Opens a stream, and stops reading after its head."""
    request = await held.enter_async_context(open_request(url, COMPLETION, body))
    assert (await request.head())[0] == 200


async def is_served(graph):
    text, _ = echoed(PROMPT, 8)
    status, _, answer = await send(graph.urls["Api"], COMPLETION, body(max_tokens=8))
    assert (status, answer["choices"][0]["text"]) == (200, text)


async def cancelled_requests(graph):
    """How many requests the frontend has counted as cancelled by their clients."""
    async with asyncio.timeout(BOUND), open_request(graph.urls["Api"], "/metrics", b"", method="GET") as request:
        page = await request.text()
    return sum(
        float(n) for n in re.findall(r'^dynamo_frontend_requests_total\{.*status="499"\} (.*)$', page, re.MULTILINE)
    )


async def nothing_is_left(graph, tasks):
    """tasks: those from before."""

    async def no_more():
        return await tasks_of(graph) <= tasks

    await poll_until(lambda: equals(graph.Api.admitted(), 0))
    await poll_until(lambda: equals(open_calls(graph), {}))
    await poll_until(no_more)


async def equals(call, expected):
    return await call == expected


async def is_at_least(call, expected):
    return await call >= expected


# Each stage waits for a state of the request before the client closes the connection. prompts: prompts that were
# tokenised before this request; n: choices of this request.


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


async def during_decoding(graph, loads, request, prompts, n):
    await loads.until(lambda: loads.sum[0] == n and loads.sum[2] > n)


STAGES = {
    "after half of the body": (at_once, {}, 0.5),
    "during tokenisation": (while_it_is_tokenised, {"prompt": LONG_TEXT}, 1),
    "in the queue": (in_the_queue, {}, 1),
    "during prefill": (during_prefill, {"prompt": [7] * LONG_PREFILL}, 1),
    "at the first token": (at_the_first_token, {"stream": True}, 1),
    "during a stream": (during_decoding, {"stream": True}, 1),
    "during a complete answer": (during_decoding, {}, 1),
    "four choices during tokenisation": (while_it_is_tokenised, {"prompt": LONG_TEXT, "n": 4, "stream": True}, 1),
    "four choices in the queue": (in_the_queue, {"n": 4, "stream": True}, 1),
    "four choices at the first token": (at_the_first_token, {"n": 4, "stream": True}, 1),
    "four choices during a stream": (during_decoding, {"n": 4, "stream": True}, 1),
    "four choices during a complete answer": (during_decoding, {"n": 4}, 1),
}


@pytest.mark.parametrize(("stage", "fields", "share"), STAGES.values(), ids=STAGES)
def test_a_closed_connection_frees_everything_at_once(graph, stage, fields, share, figures):
    async def main():
        url, tasks, seen = graph.urls["Api"], await steady_tasks(graph), await cancelled_requests(graph)
        async with WorkerLoads.of(graph) as loads, AsyncExitStack() as held:
            others = SLOTS if stage is in_the_queue else 0
            for number in range(others):
                await begun_stream(held, url, body([number + 10], stream=True))
            prompts = await graph.Text.begun(0)
            async with open_request(url, COMPLETION, body(**fields), share) as request:
                await stage(graph, loads, request, prompts, fields.get("n", 1))
                begun = time.monotonic()
            if stage in {at_once, while_it_is_tokenised}:
                await poll_until(lambda: equals(cancelled_requests(graph), seen + 1))
                freed = time.monotonic()
            else:
                await loads.until(lambda: loads.sum[:2] == (others, 0))
                freed = loads.at
            await held.aclose()
            await loads.idle()
        await nothing_is_left(graph, tasks)
        await is_served(graph)
        return freed - begun

    figures(free_after_ms=round(1e3 * portal.run(main(), BOUND), 1))


def test_nothing_is_left_of_two_hundred_abandoned_requests(graph, figures):
    """Concurrent clients, each of which abandons its requests at random stages."""
    random = Random(11)
    kinds = [{}, {"stream": True}, {"stream": True, "n": 4}, {"n": 3}]
    prompts = [PROMPT, PROMPT, [7] * 500, [8] * LONG_PREFILL, LONG_TEXT]
    resets = 0  # a frontend may never see a request that is reset

    async def client(url, loads):
        nonlocal resets
        for _ in range(EACH):
            request_body = body(random.choice(prompts), **random.choice(kinds))
            share, events = random.choice([0.3, 1, 1, 1]), random.choice([0, 0, 1, 5])
            async with open_request(url, COMPLETION, request_body, share) as request:
                if share < 1:
                    continue
                if random.random() < 0.3:
                    request.reset()
                    resets += 1
                elif request_body["prompt"] is LONG_TEXT:
                    await graph.Text.tasks()  # after this call it is being tokenised, or waits for that
                elif not (request_body.get("stream") and request_body["prompt"] is PROMPT):
                    await loads.change()  # of any request
                elif events:
                    await request.head()
                    received = request.events()
                    for _ in range(events):
                        await anext(received)

    async def main():
        url, tasks, seen = graph.urls["Api"], await steady_tasks(graph), await cancelled_requests(graph)
        async with WorkerLoads.of(graph) as loads:
            begun = time.monotonic()
            await asyncio.gather(*(client(url, loads) for _ in range(AT_ONCE)))
            ended = time.monotonic()
            freed = await loads.idle()
        await poll_until(lambda: is_at_least(cancelled_requests(graph), seen + AT_ONCE * EACH - resets))
        await nothing_is_left(graph, tasks)
        await is_served(graph)
        return ended - begun, freed - ended

    took, freed = portal.run(main(), BOUND)
    figures(abandoned_requests=AT_ONCE * EACH, within_s=round(took, 1), free_after_the_last_ms=round(1e3 * freed, 1))


LIMIT, BEYOND = 4, 100
ENDLESS = 120_000  # tokens: more than the buffers of the sockets hold


@pytest.fixture(scope="module")
def small(module_project):
    args = [f"--Api.max_running={LIMIT}", "--Echo.max_model_len=131072", "--Echo.blocks=16384"]
    with serve(module_project, "direct", *args) as deployment:
        yield deployment


def test_requests_over_the_limit_are_refused_at_once(small, figures):
    """The limit is reached by clients that do not read their answers."""
    url = small.urls["Api"]

    async def main():
        tasks = await steady_tasks(small)
        async with WorkerLoads.of(small) as loads, AsyncExitStack() as held:
            for number in range(LIMIT):
                await begun_stream(held, url, body([number + 10], max_tokens=ENDLESS, stream=True))
            await loads.until(lambda: loads.sum[0] == LIMIT)
            begun = time.monotonic()
            refused = await asyncio.gather(*(send(url, COMPLETION, body(stream=n % 2 == 1)) for n in range(BEYOND)))
            took = time.monotonic() - begun
            calls = await open_calls(small)
            load = loads.sum[:2]
            with openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as client:
                error = await asyncio.to_thread(rate_limited, client)
        async with WorkerLoads.of(small) as loads:
            await loads.idle()
        received = await small.Echo.received()
        await nothing_is_left(small, tasks)
        await is_served(small)
        return refused, took, calls, load, error, len(received)

    refused, took, calls, load, error, received = portal.run(main(), BOUND)
    assert {status for status, *_ in refused} == {429}
    assert {(answer["error"]["type"], answer["error"]["code"]) for *_, answer in refused} == {
        ("rate_limit_error", "rate_limit_exceeded")
    }
    assert all(int(headers["retry-after"]) > 0 for _, headers, _ in refused)
    assert load == (LIMIT, 0)
    assert received == LIMIT
    assert set(calls.values()) == {LIMIT}
    assert error.response.headers["retry-after"]
    figures(refused=BEYOND, all_within_ms=round(1e3 * took, 1))


def rate_limited(client):
    with pytest.raises(openai.RateLimitError) as raised:
        client.completions.create(model="tiny", prompt=PROMPT)
    return raised.value
