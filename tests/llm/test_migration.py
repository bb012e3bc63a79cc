"""Workers that are lost, and that go, in the middle of answers: through whole graphs over HTTP nothing of it is seen."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from random import Random

import pytest
from graph_parts import (
    BOUND,
    DEADLY,
    Loads,
    ask,
    asking,
    calls_of,
    echoed,
    ready,
    serve,
    settled,
    until,
)

from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

PATH = "/v1/completions"
PROMPT = "the quick brown fox jumps over the lazy dog"
COUNT, RATE, BLOCK = 150, 500, 8  # tokens of an answer, a second, and in a block
KILLS = 50
WORKERS = 8  # so many that each has served for a while when it is killed: else it is started again later each time
TEXT, PROMPT_TOKENS = echoed(PROMPT, COUNT)


def body(**given):
    return {"model": "tiny", "prompt": PROMPT, "max_tokens": COUNT, "temperature": 0, **given}


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


class Told:
    """What a client is told of an answer, as it comes."""

    def __init__(self, url, body):
        self.n, self.count = body.get("n", 1), 0
        self._streamed, self._news = body.get("stream", False), asyncio.Event()
        self.task = asyncio.create_task(self._read(url, body))
        self.task.add_done_callback(lambda _: self._news.set())

    async def _read(self, url, body):
        async with asking(url, PATH, body) as request:
            if not self._streamed:
                return await request.answer()
            status, _ = await request.head()
            assert status == 200, await request.text()
            events = []
            async for event in request.events():
                events.append(event)
                self.count += 1
                self._news.set()
            return events

    async def has(self, events):
        """Returns when it has been told so many, or all there are."""
        while self.count < events and not self.task.done():
            self._news.clear()
            await self._news.wait()

    async def whole(self):
        """The id of an answer which is what an undisturbed one is."""
        if not self._streamed:
            status, _, answer = await self.task
            assert status == 200
            texts = [choice["text"] for choice in answer["choices"]]
            finishes = [choice["finish_reason"] for choice in answer["choices"]]
            name, usage = answer["id"], answer["usage"]
        else:
            *events, last, end = await self.task
            assert (end, last["choices"]) == ("[DONE]", [])
            texts, finishes = [""] * self.n, [None] * self.n
            for event in events:
                assert event["usage"] is None
                (choice,) = event["choices"]
                at = choice["index"]
                assert finishes[at] is None  # of this choice nothing comes after its end
                texts[at] += choice["text"]
                finishes[at] = choice["finish_reason"]
            ((name, _),) = {(event["id"], event["created"]) for event in [*events, last]}
            usage = last["usage"]
        assert texts == [TEXT] * self.n
        assert finishes == ["length"] * self.n
        assert usage["prompt_tokens"] == PROMPT_TOKENS
        assert usage["completion_tokens"] == COUNT * self.n
        assert usage["total_tokens"] == PROMPT_TOKENS + COUNT * self.n
        return name


async def came(graph):
    """The requests that the workers that live have been given, with how much of them others had made."""
    found = []
    for one in ready(graph.state):
        found += await graph.Echo.came().using(instance_id=one)
    return found


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
                os.kill(ready(graph.state)[victim], signal.SIGKILL)
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
        status, *_ = await ask(url, PATH, body(max_tokens=4))
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
            before = ready(graph.state)
            await step
            assert ready(graph.state) != before
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


def test_a_worker_that_has_gone_since_it_was_chosen_is_none_that_was_lost(project):
    with served(project, "late", "--Text.migration_limit=0") as graph:
        _, _, answer = portal.run(ask(graph.urls["Api"], PATH, body()), BOUND)
    assert answer["choices"][0]["text"] == TEXT


@pytest.fixture
def limited(link, project):
    """A request may lose one worker, not two."""
    with served(project, link, "--Echo.ServiceArgs.workers=4", "--Text.migration_limit=1") as deployment:
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
                os.kill(ready(limited.state)[victim], signal.SIGKILL)
        answer = await told.task
        await until(lambda: is_free(limited))
        assert (await ask(limited.urls["Api"], PATH, body()))[2]["choices"][0]["text"] == TEXT
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


async def is_free(graph):
    return await graph.Api.admitted() == 0 and await calls_of(graph) == {}


def test_a_request_that_kills_its_worker_does_not_go_round_them_all(limited):
    async def main():
        before = ready(limited.state)
        status, _, answer = await ask(limited.urls["Api"], PATH, body(prompt=[DEADLY, 7]))
        await settled(limited, lambda state: len(ready(state)) == len(before) and ready(state) != before)
        await until(lambda: is_free(limited))
        assert (await ask(limited.urls["Api"], PATH, body()))[2]["choices"][0]["text"] == TEXT
        return status, answer, len(before.keys() - ready(limited.state).keys())

    status, answer, lost = portal.run(main(), BOUND)
    assert (status, answer["error"]["type"], lost) == (503, "server_error", 2)


def test_where_every_worker_is_killed_again_and_again_the_client_is_told(limited, figures):
    async def kill_all():
        while True:
            await settled(limited, ready)
            for pid in ready(limited.state).values():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed = set(ready(limited.state))
            await settled(limited, lambda state, killed=killed: not killed & set(ready(state)))

    async def main():
        url = limited.urls["Api"]
        going = [Told(url, asked) for asked in (stream(), stream(n=2), body(), body(n=2))]
        await going[0].has(10)
        killing, begun = asyncio.create_task(kill_all()), time.monotonic()
        answers = await asyncio.gather(*(told.task for told in going))
        took = time.monotonic() - begun
        killing.cancel()
        await until(lambda: is_free(limited))
        return answers, took

    (*streams, one, two), took = portal.run(main(), BOUND)
    assert {one[0], two[0]} == {503}
    errors = [*(events[-1] for events in streams), one[2], two[2]]
    assert {error["error"]["type"] for error in errors} == {"server_error"}
    figures(told_after_s=round(took, 1))
