"""VllmEngine: answers, their ends, and cache events."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing
from pathlib import Path

import pytest

pytest.importorskip("vllm")

import pytest_asyncio
from vllm_engines import BLOCK, CONTEXT, answer, prompt, request, started, wait_for_cache

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.llm.cache.blocks import block_hashes
from dynamo_nb.llm.engines.engine import Engine
from dynamo_nb.llm.engines.vllm.engine import FEATURES
from dynamo_nb.llm.messages import Structure

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # vLLM and torch emit many warnings
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine():
    async with started() as engine:
        yield engine


async def test_it_implements_engine_and_reports_model_and_limits(engine):
    assert isinstance(engine, Engine)
    assert (engine.info.context, engine.info.block_size) == (CONTEXT, BLOCK)
    assert {*FEATURES, "events"} == set(engine.info.features)
    assert engine.info.total_blocks > 40
    await engine.health()


async def test_greedy_answers_are_equal_alone_and_in_a_batch(engine):
    requests = [request(prompt(50, first), f"r{first}", max_tokens=40) for first in range(8)]
    alone = [(await answer(engine, each))[0] for each in requests]
    together = [tokens for tokens, _ in await asyncio.gather(*(answer(engine, each) for each in requests))]
    assert together == alone
    assert len({tuple(tokens) for tokens in alone}) == 8


async def test_tokens_are_streamed_and_the_last_delta_has_the_finish(engine):
    tokens, deltas = await answer(engine, request(prompt(40, 20), max_tokens=24))
    assert len(tokens) == 24
    assert len(deltas) > 8
    assert [delta.finish for delta in deltas] == [""] * (len(deltas) - 1) + ["length"]
    assert [delta.cached for delta in deltas[1:]] == [-1] * (len(deltas) - 1)


async def test_a_seed_repeats_a_random_answer_and_another_seed_does_not(engine):
    def token_request(seed):
        return request(prompt(20, 21), temperature=1.0, seed=seed, max_tokens=30)

    one, again, other = [(await answer(engine, token_request(seed)))[0] for seed in (1, 1, 2)]
    assert one == again != other


async def test_minus_one_is_a_valid_seed(engine):
    token_request = request(prompt(20, 21), temperature=1.0, seed=-1, max_tokens=30)
    assert (await answer(engine, token_request))[0] == (await answer(engine, token_request))[0]


async def test_log_probabilities_of_tokens_that_a_schema_forbids_are_finite(engine):
    schema = (
        '{"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": false}'
    )
    token_request = request(
        prompt(20, 26), structure=Structure("json_schema", schema), logprobs=3, max_tokens=20, ignore_eos=False
    )
    _, deltas = await answer(engine, token_request)
    values = [value for delta in deltas for entry in delta.logprobs for _, value in entry]
    assert min(values) == -9999.0


async def test_a_stop_token_ends_the_answer_and_is_not_part_of_it(engine):
    whole, _ = await answer(engine, request(prompt(30, 22), max_tokens=20))
    stop = whole[9]
    tokens, deltas = await answer(engine, request(prompt(30, 22), max_tokens=20, stop_tokens=(stop,), logprobs=0))
    assert tokens == whole[: whole.index(stop)]
    assert deltas[-1].finish == "stop"
    assert sum(len(delta.logprobs) for delta in deltas) == len(tokens)


async def test_stop_tokens_are_ignored_before_min_tokens(engine):
    whole, _ = await answer(engine, request(prompt(30, 22), max_tokens=20))
    token_request = request(prompt(30, 22), max_tokens=20, stop_tokens=(whole[2],), min_tokens=10)
    assert len((await answer(engine, token_request))[0]) >= 10


async def test_each_token_has_the_requested_log_probabilities(engine):
    tokens, deltas = await answer(engine, request(prompt(30, 23), logprobs=3))
    entries = [entry for delta in deltas for entry in delta.logprobs]
    assert [entry[0][0] for entry in entries] == tokens
    for entry in entries:
        (_, chosen), *top = entry
        assert len(top) == 3
        assert top[0] == entry[0]  # the most likely token is chosen
        assert [value for _, value in top] == sorted((value for _, value in top), reverse=True)
        assert chosen < 0


async def test_an_answer_continues_where_another_worker_stopped(engine):
    start = prompt(45, 24)
    whole, _ = await answer(engine, request(start, max_tokens=30))
    token_request = request(start + whole[:11], max_tokens=30, generated=11)
    rest, deltas = await answer(engine, token_request)
    assert whole[:11] + rest == whole
    assert deltas[-1].finish == "length"


async def test_a_complete_answer_gets_no_more_tokens(engine):
    tokens, deltas = await answer(engine, request(prompt(40), max_tokens=8, generated=8))
    assert (tokens, [delta.finish for delta in deltas]) == ([], ["length"])


async def test_a_schema_is_followed(engine):
    transformers = pytest.importorskip("transformers")
    schema = '{"type": "object", "properties": {"a": {"enum": ["x", "yes"]}}, "required": ["a"], "additionalProperties": false}'
    tokens, _ = await answer(
        engine, request(prompt(20, 25), structure=Structure("json_schema", schema), max_tokens=60, ignore_eos=False)
    )
    text = transformers.AutoTokenizer.from_pretrained(engine.info.model).decode(tokens)
    assert text.lstrip().startswith("{")


@pytest.mark.parametrize(
    ("tokens", "options", "message"),
    [
        (prompt(CONTEXT), {}, "512 tokens; the context length"),
        (prompt(CONTEXT + 900), {}, "1412 tokens; the context length"),
        ([], {}, "prompt is empty"),
        ([7, 5000], {}, "5000"),
        (prompt(9), {"temperature": -1.0}, "temperature"),
        (prompt(9), {"top_p": 7.0}, "top_p"),
        (prompt(9), {"logprobs": 10_000}, "logprobs"),
        (prompt(9), {"structure": Structure("json_schema", '{"type": 7}')}, "rejected"),
        (prompt(9), {"adapter": "poet"}, "unknown adapter 'poet'"),
    ],
)
async def test_invalid_requests_are_refused_before_the_first_delta(engine, tokens, options, message):
    with pytest.raises(InvalidArgument, match=message):
        await answer(engine, request(tokens, **options))


async def test_an_answer_ends_at_the_context_limit(engine):
    tokens, deltas = await answer(engine, request(prompt(CONTEXT - 20), max_tokens=10**6))
    assert (len(tokens), deltas[-1].finish) == (20, "length")


async def test_an_aborted_answer_ends_with_the_finish_abort(engine):
    async with aclosing(engine.generate(request(prompt(30, 26), "abort-me", max_tokens=400))) as deltas:
        found = [await anext(deltas)]
        await engine.abort("abort-me")
        found += [delta async for delta in deltas]
    assert found[-1].finish == "abort"
    await engine.abort("unknown")


async def test_requests_with_equal_ids_are_answered_and_aborted_together(engine):
    requests = [request(prompt(30, first), "same", max_tokens=10) for first in (60, 61)]
    alone = [(await answer(engine, each))[0] for each in requests]
    assert [tokens for tokens, _ in await asyncio.gather(*(answer(engine, each) for each in requests))] == alone
    tasks = [asyncio.create_task(answer(engine, request(prompt(30), "same", max_tokens=450))) for _ in range(2)]
    await wait_for_cache(engine.cache, lambda: engine.load().running == 2)
    await engine.abort("same")
    assert [deltas[-1].finish for _, deltas in await asyncio.gather(*tasks)] == ["abort", "abort"]


async def test_closing_an_answer_frees_its_slot_and_its_blocks(engine):
    await wait_for_cache(engine.cache, lambda: engine.load().running == 0)
    before = engine.load().used_blocks
    async with aclosing(engine.generate(request(prompt(200, 27), max_tokens=300))) as deltas:
        await anext(deltas)
        await wait_for_cache(engine.cache, lambda: engine.load().running == 1)
        assert engine.load().used_blocks > before
    await wait_for_cache(engine.cache, lambda: engine.load().running == 0)
    assert engine.load().used_blocks == before


async def test_cancelling_the_reader_frees_the_slot(engine):
    task = asyncio.create_task(answer(engine, request(prompt(30, 28), max_tokens=450)))
    await wait_for_cache(engine.cache, lambda: engine.load().running == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await wait_for_cache(engine.cache, lambda: engine.load().running == 0)


async def test_the_cache_log_contains_the_blocks_that_the_next_request_finds(engine):
    tokens = prompt(4 * BLOCK + 5, 30)
    names = block_hashes(tokens, BLOCK)
    assert engine.cache.leading(names) == 0
    _, deltas = await answer(engine, request(tokens))
    assert deltas[0].cached == 0
    await wait_for_cache(engine.cache, lambda: engine.cache.leading(names) == 4)
    _, deltas = await answer(engine, request(tokens[: 3 * BLOCK] + prompt(40, 31)))
    assert deltas[0].cached == 3 * BLOCK


async def test_the_cache_log_contains_generated_blocks(engine):
    tokens = prompt(BLOCK, 32)
    generated, _ = await answer(engine, request(tokens, max_tokens=2 * BLOCK))
    names = block_hashes(tokens + generated[:-1], BLOCK)
    assert len(names) == 2
    await wait_for_cache(engine.cache, lambda: engine.cache.leading(names) == 2)


async def test_a_salt_does_not_share_blocks(engine):
    tokens = prompt(3 * BLOCK + 1, 33)
    await answer(engine, request(tokens, salt="mine"))
    mine, plain = block_hashes(tokens, BLOCK, salt="mine"), block_hashes(tokens, BLOCK)
    await wait_for_cache(engine.cache, lambda: engine.cache.leading(mine) == 3)
    assert engine.cache.leading(plain) == 0
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


async def test_a_text_model_refuses_embeddings_and_prefill(engine):
    with pytest.raises(InvalidArgument, match="does not support embeddings"):
        await engine.embed([7, 8])
    with pytest.raises(InvalidArgument, match="no connector"):
        await engine.prefill(request(prompt(40)))
