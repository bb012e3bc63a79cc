"""vLLM as an engine: answers, their ends, and what it tells of its cache."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing
from pathlib import Path

import pytest

pytest.importorskip("vllm")

import pytest_asyncio
from vllm_parts import BLOCK, CONTEXT, answer, leading, prompt, request, started, until

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.llm.cache.blocks import block_hashes
from dynamo_nb.llm.engines.engine import Engine

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # those of vLLM and torch, which warn much
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine():
    async with started() as engine:
        yield engine


async def test_it_is_an_engine_and_tells_what_it_serves(engine):
    assert isinstance(engine, Engine)
    assert (engine.info.context, engine.info.block_size) == (CONTEXT, BLOCK)
    assert {"logprobs", "seed", "json_schema", "events"} == set(engine.info.features)
    assert engine.info.total_blocks > 40
    await engine.health()


async def test_greedy_answers_are_the_same_each_time_and_beside_others(engine):
    asked = [request(prompt(50, first), f"r{first}", max_tokens=40) for first in range(8)]
    alone = [(await answer(engine, each))[0] for each in asked]
    together = [tokens for tokens, _ in await asyncio.gather(*(answer(engine, each) for each in asked))]
    assert together == alone
    assert len({tuple(tokens) for tokens in alone}) == 8


async def test_tokens_come_as_they_are_made_and_the_last_delta_has_the_finish(engine):
    tokens, deltas = await answer(engine, request(prompt(40, 20), max_tokens=24))
    assert len(tokens) == 24
    assert len(deltas) > 8
    assert [delta.finish for delta in deltas] == [""] * (len(deltas) - 1) + ["length"]
    assert [delta.cached for delta in deltas[1:]] == [-1] * (len(deltas) - 1)


async def test_a_seed_repeats_a_random_answer_and_another_seed_does_not(engine):
    def asked(seed):
        return request(prompt(20, 21), temperature=1.0, seed=seed, max_tokens=30)

    one, again, other = [(await answer(engine, asked(seed)))[0] for seed in (1, 1, 2)]
    assert one == again != other


async def test_minus_one_is_a_seed_like_others(engine):
    asked = request(prompt(20, 21), temperature=1.0, seed=-1, max_tokens=30)
    assert (await answer(engine, asked))[0] == (await answer(engine, asked))[0]


async def test_log_probabilities_of_what_a_schema_forbids_are_numbers(engine):
    schema = (
        '{"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": false}'
    )
    asked = request(prompt(20, 26), json_schema=schema, logprobs=3, max_tokens=20, ignore_eos=False)
    _, deltas = await answer(engine, asked)
    values = [value for delta in deltas for entry in delta.logprobs for _, value in entry]
    assert min(values) == -9999.0


async def test_a_stop_token_ends_the_answer_and_is_not_part_of_it(engine):
    whole, _ = await answer(engine, request(prompt(30, 22), max_tokens=20))
    stop = whole[9]
    tokens, deltas = await answer(engine, request(prompt(30, 22), max_tokens=20, stop_tokens=(stop,), logprobs=0))
    assert tokens == whole[: whole.index(stop)]
    assert deltas[-1].finish == "stop"
    assert sum(len(delta.logprobs) for delta in deltas) == len(tokens)


async def test_no_stop_token_counts_before_min_tokens(engine):
    whole, _ = await answer(engine, request(prompt(30, 22), max_tokens=20))
    asked = request(prompt(30, 22), max_tokens=20, stop_tokens=(whole[2],), min_tokens=10)
    assert len((await answer(engine, asked))[0]) >= 10


async def test_log_probabilities_stand_beside_each_token(engine):
    tokens, deltas = await answer(engine, request(prompt(30, 23), logprobs=3))
    entries = [entry for delta in deltas for entry in delta.logprobs]
    assert [entry[0][0] for entry in entries] == tokens
    for entry in entries:
        (_, chosen), *likeliest = entry
        assert len(likeliest) == 3
        assert likeliest[0] == entry[0]  # the likeliest one is taken
        assert [value for _, value in likeliest] == sorted((value for _, value in likeliest), reverse=True)
        assert chosen < 0


async def test_an_answer_goes_on_where_another_worker_stopped(engine):
    start = prompt(45, 24)
    whole, _ = await answer(engine, request(start, max_tokens=30))
    asked = request(start + whole[:11], max_tokens=30, generated=11)
    rest, deltas = await answer(engine, asked)
    assert whole[:11] + rest == whole
    assert deltas[-1].finish == "length"


async def test_nothing_is_left_to_make_of_an_answer_that_is_complete(engine):
    tokens, deltas = await answer(engine, request(prompt(40), max_tokens=8, generated=8))
    assert (tokens, [delta.finish for delta in deltas]) == ([], ["length"])


async def test_a_schema_is_followed(engine):
    transformers = pytest.importorskip("transformers")
    schema = '{"type": "object", "properties": {"a": {"enum": ["x", "yes"]}}, "required": ["a"], "additionalProperties": false}'
    tokens, _ = await answer(engine, request(prompt(20, 25), json_schema=schema, max_tokens=60, ignore_eos=False))
    text = transformers.AutoTokenizer.from_pretrained(engine.info.model).decode(tokens)
    assert text.lstrip().startswith("{")


@pytest.mark.parametrize(
    ("tokens", "options", "said"),
    [
        (prompt(CONTEXT), {}, "512 tokens; the context length"),
        (prompt(CONTEXT + 900), {}, "1412 tokens; the context length"),
        ([], {}, "prompt is empty"),
        ([7, 5000], {}, "5000"),
        (prompt(9), {"temperature": -1.0}, "temperature"),
        (prompt(9), {"top_p": 7.0}, "top_p"),
        (prompt(9), {"logprobs": 10_000}, "logprobs"),
        (prompt(9), {"json_schema": '{"type": 7}'}, "rejected"),
        (prompt(9), {"adapter": "nobody"}, "unknown adapter 'nobody'"),
    ],
)
async def test_what_cannot_be_served_is_refused_before_the_first_delta(engine, tokens, options, said):
    with pytest.raises(InvalidArgument, match=said):
        await answer(engine, request(tokens, **options))


async def test_as_many_tokens_as_the_context_has_room_for_when_a_million_are_asked_for(engine):
    tokens, deltas = await answer(engine, request(prompt(CONTEXT - 20), max_tokens=10**6))
    assert (len(tokens), deltas[-1].finish) == (20, "length")


async def test_an_aborted_answer_ends_with_that_finish(engine):
    async with aclosing(engine.generate(request(prompt(30, 26), "abort-me", max_tokens=400))) as deltas:
        found = [await anext(deltas)]
        await engine.abort("abort-me")
        found += [delta async for delta in deltas]
    assert found[-1].finish == "abort"
    await engine.abort("nobody")


async def test_requests_of_one_name_are_answered_and_aborted_together(engine):
    asked = [request(prompt(30, first), "same", max_tokens=10) for first in (60, 61)]
    alone = [(await answer(engine, each))[0] for each in asked]
    assert [tokens for tokens, _ in await asyncio.gather(*(answer(engine, each) for each in asked))] == alone
    going = [asyncio.create_task(answer(engine, request(prompt(30), "same", max_tokens=450))) for _ in range(2)]
    await until(engine.cache, lambda: engine.load().running == 2)
    await engine.abort("same")
    assert [deltas[-1].finish for _, deltas in await asyncio.gather(*going)] == ["abort", "abort"]


async def test_closing_an_answer_frees_its_slot_and_its_blocks(engine):
    await until(engine.cache, lambda: engine.load().running == 0)
    before = engine.load().used_blocks
    async with aclosing(engine.generate(request(prompt(200, 27), max_tokens=300))) as deltas:
        await anext(deltas)
        await until(engine.cache, lambda: engine.load().running == 1)
        assert engine.load().used_blocks > before
    await until(engine.cache, lambda: engine.load().running == 0)
    assert engine.load().used_blocks == before


async def test_cancelling_who_reads_frees_the_slot(engine):
    task = asyncio.create_task(answer(engine, request(prompt(30, 28), max_tokens=450)))
    await until(engine.cache, lambda: engine.load().running == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(engine.cache, lambda: engine.load().running == 0)


async def test_the_cache_log_names_the_blocks_that_the_next_request_then_finds(engine):
    tokens = prompt(4 * BLOCK + 5, 30)
    names = block_hashes(tokens, BLOCK)
    assert leading(engine.cache, names) == 0
    _, deltas = await answer(engine, request(tokens))
    assert deltas[0].cached == 0
    await until(engine.cache, lambda: leading(engine.cache, names) == 4)
    _, deltas = await answer(engine, request(tokens[: 3 * BLOCK] + prompt(40, 31)))
    assert deltas[0].cached == 3 * BLOCK


async def test_generated_blocks_are_named_too(engine):
    tokens = prompt(BLOCK, 32)
    made, _ = await answer(engine, request(tokens, max_tokens=2 * BLOCK))
    names = block_hashes(tokens + made[:-1], BLOCK)
    assert len(names) == 2
    await until(engine.cache, lambda: leading(engine.cache, names) == 2)


async def test_another_salt_has_blocks_of_its_own(engine):
    tokens = prompt(3 * BLOCK + 1, 33)
    await answer(engine, request(tokens, salt="mine"))
    mine, plain = block_hashes(tokens, BLOCK, salt="mine"), block_hashes(tokens, BLOCK)
    await until(engine.cache, lambda: leading(engine.cache, mine) == 3)
    assert leading(engine.cache, plain) == 0
    assert (await answer(engine, request(tokens)))[1][0].cached == 0
    assert (await answer(engine, request(tokens, salt="mine")))[1][0].cached == 3 * BLOCK


async def test_an_interrupt_does_not_reach_the_engine(engine):
    for process in engine._processes.running():
        blocked = next(
            line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("SigBlk")
        )
        assert int(blocked.split()[1], 16) & 1 << (signal.SIGINT - 1), process
        os.kill(process.pid, signal.SIGINT)
    assert len((await answer(engine, request(prompt(20, 34))))[0]) == 16


async def test_a_text_model_makes_no_embeddings_and_hands_nothing_over(engine):
    with pytest.raises(InvalidArgument, match="does not support embeddings"):
        await engine.embed([7, 8])
    with pytest.raises(InvalidArgument, match="no connector"):
        await engine.prefill(request(prompt(40)))
