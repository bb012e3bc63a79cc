import asyncio
import math
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_time import run_simulated

from dynamo_nb.errors import EngineError, InvalidArgument
from dynamo_nb.llm.cache.blocks import block_hashes
from dynamo_nb.llm.engines.echo.engine import EchoEngine
from dynamo_nb.llm.engines.echo.options import EchoOptions
from dynamo_nb.llm.engines.engine import Engine
from dynamo_nb.llm.messages import Load, Sampling, Structure, TokenRequest

BLOCK = 4


def engine(**changes):
    own = {name: changes.pop(name) for name in ("events", "adapters", "embeddings") if name in changes}
    options = EchoOptions(**{"max_model_len": 0, "block_size": BLOCK, "blocks": 16, "slots": 4, **changes})
    return EchoEngine(options, **own)


def token_request(tokens, *, name="r", generated=0, adapter="", salt="", transfer=None, **sampling):
    return TokenRequest(
        request_id=name,
        tokens=list(tokens),
        sampling=Sampling(**sampling),
        generated=generated,
        adapter=adapter,
        salt=salt,
        transfer=transfer,
    )


async def answer(engine, request):
    return [delta async for delta in engine.generate(request)]


def tokens_of(deltas):
    return [token for delta in deltas for token in delta.tokens]


def started(main, **changes):
    """The result of `main(engine)` with a started engine, in simulated time."""

    async def whole():
        own = engine(**changes)
        await own.start()
        try:
            return await main(own)
        finally:
            await own.stop()

    return run_simulated(whole())


def held_by(engine):
    return {*engine._pages._pinned, *engine._pages._idle}


async def settled():
    """Lets all tasks run: simulated time advances only when none can."""
    await asyncio.sleep(1e-6)


class Follower:
    """The state of an engine as a router knows it from the events of the log."""

    def __init__(self, engine):
        self.held = set()
        self.load = None
        self._task = asyncio.create_task(self._follow(engine.cache))

    async def _follow(self, log):
        async for event in log.follow():
            if event.cleared:
                self.held.clear()
            self.held -= set(event.removed)
            self.held |= set(event.stored)
            self.load = event.load or self.load


ANSWERS = {
    "up to max_tokens": (token_request([1, 2, 3], max_tokens=5), [1, 2, 3, 1, 2], "length"),
    "up to the context": (token_request(range(60)), [0, 1, 2, 3], "length"),
    "max_tokens beyond the context": (token_request(range(62), max_tokens=10**6), [0, 1], "length"),
    "up to a stop token, which is left out": (token_request([1, 2, 3], max_tokens=9, stop_tokens=(3,)), [1, 2], "stop"),
    "empty if the first token is a stop token": (token_request([3, 1], max_tokens=9, stop_tokens=(3,)), [], "stop"),
    "with a stop token ignored before min_tokens": (
        token_request([1, 2, 3], max_tokens=9, stop_tokens=(3,), min_tokens=4),
        [1, 2, 3, 1, 2],
        "stop",
    ),
    "the rest of an answer that another engine began": (
        token_request([1, 2, 3, 1, 2], generated=2, max_tokens=5),
        [3, 1, 2],
        "length",
    ),
    "empty if another engine completed it": (token_request([1, 2, 1], generated=1, max_tokens=1), [], "length"),
    "one token with one token of context left": (token_request([*range(60), 0, 1, 2], generated=3), [3], "length"),
}


@pytest.mark.parametrize("rate", [0, 100])
@pytest.mark.parametrize("case", ANSWERS)
def test_the_answer_is(case, rate):
    request, tokens, finish = ANSWERS[case]
    deltas = started(lambda own: answer(own, request), tokens_per_second=rate)
    assert tokens_of(deltas) == tokens
    assert [delta.finish for delta in deltas] == [""] * (len(deltas) - 1) + [finish]


@pytest.mark.parametrize("stop", range(1, 9))
def test_an_answer_moved_to_another_engine_after_any_token_is_the_same(stop):
    async def moved(own):
        whole = tokens_of(await answer(own, token_request([1, 2, 3], max_tokens=9, stop_tokens=(9,))))
        begun = [1, 2, 3, *whole[:stop]]
        rest = await answer(own, token_request(begun, generated=stop, max_tokens=9, stop_tokens=(9,)))
        return whole, whole[:stop] + tokens_of(rest)

    whole, pieces = started(moved)
    assert pieces == whole


REFUSED = {
    "an empty prompt": token_request([]),
    "nothing but generated tokens": token_request([1, 2], generated=2),
    "a prompt as long as the context": token_request(range(64)),
    "an unknown adapter": token_request([1], adapter="poet"),
    "a bias of a token": token_request([1], logit_bias={1: 1.0}),
    "log probabilities of the prompt": token_request([1], prompt_logprobs=0),
    "a choice": token_request([1], structure=Structure("choice", ("a",))),
    "a JSON schema": token_request([1], structure=Structure("json_schema", "{}")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_requests_are_refused(case):
    async def refused(own):
        for call in (answer(own, REFUSED[case]), own.prefill(REFUSED[case])):
            with pytest.raises(InvalidArgument):
                await call
        assert own.load() == Load(0, 0, 0, 16)

    started(refused, adapters=["painter"])


def test_tokens_arrive_at_the_configured_speed():
    async def times(own):
        now = asyncio.get_running_loop().time
        return [(round(now(), 9), delta.tokens) async for delta in own.generate(token_request(range(10), max_tokens=4))]

    every = started(times, tokens_per_second=10, prefill_tokens_per_second=20)
    assert every == [(0.5, [0]), (0.6, [1]), (0.7, [2]), (0.8, [3])]


def test_tokens_of_one_delta_arrive_together_at_the_configured_speed():
    async def times(own):
        now = asyncio.get_running_loop().time
        return [(round(now(), 9), delta.tokens) async for delta in own.generate(token_request(range(10), max_tokens=4))]

    pairs = started(times, tokens_per_second=10, tokens_per_delta=2)
    assert pairs == [(0.0, [0, 1]), (0.2, [2, 3])]


def test_a_slow_reader_does_not_delay_the_engine():
    async def slow(own):
        sizes = []
        async for delta in own.generate(token_request(range(10), max_tokens=10)):
            sizes.append(len(delta.tokens))
            await asyncio.sleep(0.45)
        return sizes

    assert started(slow, tokens_per_second=10) == [1, 4, 5]


def test_the_speed_does_not_drift_over_many_tokens():
    async def last(own):
        await answer(own, token_request([1], max_tokens=7001))
        return asyncio.get_running_loop().time()

    assert started(last, tokens_per_second=700, blocks=2000) == pytest.approx(10, abs=1e-6)


def test_a_stream_without_a_speed_lets_other_tasks_run():
    async def count_ticks(own):
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        ticking = asyncio.create_task(tick())
        await answer(own, token_request([1], max_tokens=1000))
        ticking.cancel()
        return ticks

    assert started(count_ticks, blocks=1000) > 10


def test_prompts_are_computed_one_after_another():
    async def ends(own):
        now = asyncio.get_running_loop().time

        async def one(number):
            await answer(own, token_request(range(number, number + 10), max_tokens=1))
            return round(now(), 9)

        return await asyncio.gather(*(one(number * 100) for number in range(3)))

    assert started(ends, prefill_tokens_per_second=10) == [1, 2, 3]


def test_only_tokens_that_are_not_cached_take_prefill_time():
    async def second(own):
        now = asyncio.get_running_loop().time
        await answer(own, token_request(range(16), max_tokens=1))
        begin = now()
        (delta,) = await answer(own, token_request([*range(12), 99, 98], max_tokens=1))
        return delta.cached, now() - begin

    assert started(second, prefill_tokens_per_second=10) == (12, pytest.approx(0.2))


def test_the_last_token_of_a_prompt_is_always_computed():
    async def again(own):
        await answer(own, token_request(range(8), max_tokens=1))
        return (await answer(own, token_request(range(8), max_tokens=1)))[0].cached

    assert started(again) == 7


def test_the_blocks_of_an_answer_are_cached_for_the_next_turn():
    async def next_turn(own):
        turn = [1, 2, 3, *tokens_of(await answer(own, token_request([1, 2, 3], max_tokens=6)))]
        return (await answer(own, token_request([*turn, 9, 9, 9, 9], max_tokens=1)))[0].cached

    assert started(next_turn) == 8


@pytest.mark.parametrize("apart", [{"adapter": "poet"}, {"salt": "mine"}])
def test_adapters_and_salts_do_not_share_blocks(apart):
    async def cached(own):
        await answer(own, token_request(range(8), max_tokens=1))
        first = await answer(own, token_request(range(8), max_tokens=1, **apart))
        second = await answer(own, token_request(range(8), max_tokens=1, **apart))
        return first[0].cached, second[0].cached

    assert started(cached, adapters=["poet"]) == (0, 7)


def test_the_least_recently_used_blocks_are_evicted_first_and_tails_before_heads():
    async def left(own):
        for first in (0, 100):
            await answer(own, token_request(range(first, first + 8), max_tokens=1))
        await answer(own, token_request(range(200, 205), max_tokens=1))  # two blocks; one is free
        old, new = block_hashes(range(8), BLOCK), block_hashes(range(100, 108), BLOCK)
        return [name in own.cache.blocks for name in old + new]

    assert started(left, blocks=5) == [True, False, True, True]


def test_block_names_equal_those_of_the_router():
    async def names(own):
        await answer(own, token_request(range(10), max_tokens=1, salt="s"))
        return list(own.cache.blocks)

    assert started(names) == block_hashes(range(10), BLOCK, salt="s")


def test_without_events_only_the_load_is_published():
    async def published(own):
        follower = Follower(own)
        await answer(own, token_request(range(8), max_tokens=1))
        await settled()
        return follower.held, follower.load, (await answer(own, token_request(range(8), max_tokens=1)))[0].cached

    assert started(published, events=False) == (set(), Load(0, 0, 0, 16), 7)


def test_transferred_blocks_cost_no_prefill_time():
    async def transferred(own):
        now = asyncio.get_running_loop().time
        other = engine(prefill_tokens_per_second=10)
        await other.start()
        transfer = await other.prefill(token_request(range(10)))
        assert other.load() == Load(0, 0, 0, 16)
        begin = now()
        deltas = await answer(own, token_request(range(10), max_tokens=2, transfer=transfer))
        return round(now() - begin, 9), deltas[0].cached, tokens_of(deltas), list(own.cache.blocks), transfer

    names = block_hashes(range(10), BLOCK)
    assert started(transferred, prefill_tokens_per_second=10) == (0.2, 8, [0, 1], names, {"blocks": names})


@pytest.mark.parametrize("count", [0, 5])
def test_each_token_has_the_requested_log_probabilities(count):
    (delta,) = started(lambda own: answer(own, token_request([7], max_tokens=1, logprobs=count)))
    assert delta.logprobs == [[(7, 0.0)] * (2 if count else 1)]


def test_embeddings_are_unit_vectors_and_differ_between_texts():
    async def embedded(own):
        return [await own.embed(tokens) for tokens in ([1, 2, 3], [1, 2, 3], [1, 2, 4], [7, 8, 9])]

    one, same, near, far = started(embedded, embeddings=True)
    assert one == same
    assert math.hypot(*one) == pytest.approx(1)
    likeness = [
        math.sumprod(one, other) if hasattr(math, "sumprod") else sum(map(float.__mul__, one, other))
        for other in (near, far)
    ]
    assert 1 > likeness[0] > likeness[1]


def test_embeddings_are_refused_unless_enabled():
    async def embedded(own):
        with pytest.raises(InvalidArgument, match="embeddings"):
            await own.embed([1])

    started(embedded)


def test_info_reports_model_limits_and_features():
    own = engine(model="m", blocks=8, block_size=2, adapters=["a"], embeddings=True, events=False)
    assert isinstance(own, Engine)
    assert own.info.model == "m"
    assert (own.info.context, own.info.total_blocks, own.info.adapters) == (16, 8, ("a",))
    assert set(own.info.features) == {"logprobs", "seed", "prefill", "lora", "embeddings"}


def test_a_cache_too_small_for_the_context_is_refused():
    with pytest.raises(EngineError, match="4 blocks of 4"):
        engine(blocks=4, max_model_len=17)


def test_requests_wait_for_a_slot_in_order():
    async def order(own):
        ended = []

        async def one(name):
            await answer(own, token_request([1], name=name, max_tokens=3))
            ended.append(name)

        tasks = [asyncio.create_task(one(name)) for name in "abc"]
        await settled()
        load = own.load()
        await asyncio.gather(*tasks)
        return load, ended

    assert started(order, slots=1, tokens_per_second=10) == (Load(1, 2, 1, 16), ["a", "b", "c"])


def test_a_request_waits_while_the_cache_has_no_space_for_it():
    async def order(own):
        long = asyncio.create_task(answer(own, token_request(range(12), max_tokens=2)))
        await settled()
        other = asyncio.create_task(answer(own, token_request(range(100, 108), max_tokens=2)))
        await settled()
        return own.load(), tokens_of(await long), tokens_of(await other)

    assert started(order, blocks=4, tokens_per_second=10) == (Load(1, 1, 3, 4), [0, 1], [100, 101])


@pytest.mark.parametrize("rate", [0, 10])
def test_answers_are_complete_although_the_newest_restarts_when_blocks_run_out(rate):
    async def three(own):
        requests = [token_request([n, n + 1], name=str(n), max_tokens=14) for n in (10, 20, 30)]
        return [tokens_of(deltas) for deltas in await asyncio.gather(*(answer(own, each) for each in requests))]

    assert started(three, blocks=5, tokens_per_second=rate) == [[n, n + 1] * 7 for n in (10, 20, 30)]


def test_thousands_of_waiting_requests_start_without_recursion():
    async def many(own):
        return len(await asyncio.gather(*(answer(own, token_request([1], max_tokens=1)) for _ in range(3000))))

    assert started(many, slots=1, tokens_per_second=1e6) == 3000


# --- requests that end early -------------------------------------------------------------------------------------

STAGES = {  # the stage of the request "r" when it ends -> options of the engine, and how many deltas were read
    "waiting for a slot": ({"slots": 1, "tokens_per_second": 10}, 0),
    "waiting for blocks": ({"blocks": 6, "tokens_per_second": 10}, 0),
    "waiting for prefill": ({"prefill_tokens_per_second": 10, "tokens_per_second": 10}, 0),
    "prefill": ({"prefill_tokens_per_second": 10, "tokens_per_second": 10, "other": False}, 0),
    "decoding": ({"tokens_per_second": 10}, 3),
    "decoding without a speed": ({}, 3),
    "generated but not read": ({"tokens_per_second": 1e6, "other": False}, 1),
}


@pytest.mark.parametrize("way", ["cancel", "close", "abort", "stop"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_request_that_ends_early_frees_everything(stage, way):
    changes, reads = STAGES[stage]
    changes = dict(changes)
    crowded = changes.pop("other", True)

    async def ended(own):
        other = None
        if crowded:
            other = asyncio.create_task(answer(own, token_request(range(100, 114), name="other", max_tokens=4)))
            await settled()
        reading, read = asyncio.Event(), []

        async def one():
            async with aclosing(own.generate(token_request(range(14), max_tokens=40))) as deltas:
                async for delta in deltas:
                    read.append(delta)
                    if len(read) == reads:
                        reading.set()
                        await asyncio.sleep(10 if way == "cancel" else 0.01)
                        if way == "close":
                            return

        task = asyncio.create_task(one())
        if reads:
            await reading.wait()
        else:
            await settled()
        if way == "abort":
            await own.abort("r")
            await task
            assert read[-1].finish in ("abort", "length")
        elif way == "stop":
            await own.stop()
            if read and len(tokens_of(read)) + 1 >= 40:
                await task
            results = await asyncio.gather(task, *([other] if other else []), return_exceptions=True)
            assert all(isinstance(result, EngineError) or result for result in results if result is not None)
            assert own.load() == Load(0, 0, 0, own.info.total_blocks)
            await own.start()
            other = None
        elif way == "cancel" or not reads:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:
            await task
        if other:
            assert tokens_of(await other) == [100, 101, 102, 103]
        load = own.load()
        again = tokens_of(await answer(own, token_request(range(14), max_tokens=4)))
        return load, held_by(own) == set(own.cache.blocks), again

    load, same, again = started(ended, **changes)
    assert load == Load(0, 0, 0, changes.get("blocks", 16))
    assert same
    assert again == [0, 1, 2, 3]


def test_an_aborted_stream_ends_with_the_tokens_generated_so_far():
    async def aborted(own):
        task = asyncio.create_task(answer(own, token_request(range(5), max_tokens=10)))
        await asyncio.sleep(0.25)
        await own.abort("r")
        await own.abort("unknown")
        return await task

    deltas = started(aborted, tokens_per_second=10)
    assert tokens_of(deltas) == [0, 1, 2]
    assert [delta.finish for delta in deltas] == ["", "", "", "abort"]


def test_an_engine_that_is_not_running_raises_engine_error():
    async def refused():
        own = engine()
        with pytest.raises(EngineError):
            await own.health()
        with pytest.raises(EngineError):
            await answer(own, token_request([1]))
        await own.start()
        await own.health()
        await own.stop()
        with pytest.raises(EngineError):
            await own.health()

    run_simulated(refused())


def test_a_stopped_engine_publishes_the_removal_of_its_blocks():
    async def stopped(own):
        follower = Follower(own)
        await answer(own, token_request(range(8), max_tokens=1))
        await settled()
        before = len(follower.held)
        await own.stop()
        await settled()
        return before, follower.held

    assert started(stopped) == (2, set())


# --- random engines and requests ---------------------------------------------------------------------------------

engines = st.fixed_dictionaries(
    {
        "blocks": st.integers(6, 14),
        "slots": st.integers(1, 4),
        "tokens_per_second": st.sampled_from([0, 50]),
        "prefill_tokens_per_second": st.sampled_from([0, 100]),
        "tokens_per_delta": st.integers(1, 5),
    }
)
prompts = st.tuples(st.integers(0, 2), st.integers(1, 20), st.integers(0, 2)).map(
    lambda drawn: [drawn[0] * 100 + n for n in range(drawn[1])] + [900 + drawn[2]]
)
requests = st.fixed_dictionaries(
    {
        "at": st.integers(0, 8).map(lambda tenth: tenth / 10),
        "prompt": prompts,
        "max_tokens": st.integers(1, 20),
        "fate": st.sampled_from(["read", "read", "slow", "cancel", "abort", "prefill"]),
        "after": st.integers(0, 4).map(lambda tenth: tenth / 10),
    }
)


@settings(max_examples=150, deadline=None)
@given(engines, st.lists(requests, min_size=1, max_size=8))
def test_blocks_slots_and_load_stay_consistent_for_random_requests(changes, planned):
    async def run(own):
        follower = Follower(own)

        async def one(number, plan):
            request = token_request(plan["prompt"], name=str(number), max_tokens=plan["max_tokens"])
            await asyncio.sleep(plan["at"])
            if plan["fate"] == "prefill":
                await own.prefill(request)
                return
            tokens = []
            async with aclosing(own.generate(request)) as deltas:
                async for delta in deltas:
                    tokens += delta.tokens
                    pages = own._pages
                    assert pages.used + len(pages._idle) <= pages.blocks
                    assert pages.used == own.load().used_blocks
                    assert len(own._running) <= changes["slots"]
                    if plan["fate"] == "slow":
                        await asyncio.sleep(0.07)
            if delta.finish == "length":
                remaining = own.info.context - len(plan["prompt"])
                assert tokens == (plan["prompt"] * 20)[: min(plan["max_tokens"], remaining)]
            else:
                assert plan["fate"] == "abort"

        async def fate(task, number, plan):
            await asyncio.sleep(plan["at"] + plan["after"])
            if plan["fate"] == "cancel":
                task.cancel()
            elif plan["fate"] == "abort":
                await own.abort(str(number))

        tasks = [asyncio.create_task(one(number, plan)) for number, plan in enumerate(planned)]
        fates = [asyncio.create_task(fate(task, *plan)) for task, plan in zip(tasks, enumerate(planned), strict=True)]
        for task, plan in zip(tasks, planned, strict=True):
            try:
                await task
            except asyncio.CancelledError:
                assert plan["fate"] == "cancel"
        await asyncio.gather(*fates)
        await settled()
        assert own.load() == follower.load == Load(0, 0, 0, changes["blocks"])
        assert follower.held == held_by(own) == set(own.cache.blocks)
        assert not own._schedule
        assert not own._pages._open

    started(run, **changes)


@settings(max_examples=100, deadline=None)
@given(engines, st.lists(requests, min_size=1, max_size=8))
def test_the_reported_cached_tokens_equal_those_that_a_follower_knows(changes, planned):
    async def run(own):
        follower = Follower(own)
        for plan in planned:
            await settled()
            names = block_hashes(plan["prompt"], BLOCK)
            there = next((n for n, name in enumerate(names) if name not in follower.held), len(names))
            deltas = await answer(own, token_request(plan["prompt"], max_tokens=plan["max_tokens"]))
            assert deltas[0].cached == min(there * BLOCK, len(plan["prompt"]) - 1)
            assert {delta.cached for delta in deltas[1:]} <= {-1}

    started(run, **changes)
