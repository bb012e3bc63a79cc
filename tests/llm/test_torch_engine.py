"""TorchEngine: answers compared with those of transformers, waiting requests and cancelled ones."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from contextlib import aclosing, asynccontextmanager

import pytest

pytest.importorskip("torch")

import pytest_asyncio
import torch
import transformers
from torch_engines import BLOCK, CONTEXT, PENALTIES, RANDOM, SLOTS, generated, reference, started
from vllm_engines import answer, prompt, request, wait_for_cache

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.llm.engines.engine import Engine
from dynamo_nb.llm.engines.torch.scheduler import CHUNK
from dynamo_nb.llm.messages import Structure
from dynamo_nb.llm.tiny import VOCABULARY, tiny_model

pytestmark = pytest.mark.asyncio(loop_scope="module")

LENGTHS = (1, 9, 40, 41, 200, CHUNK, CHUNK + 1, 2 * CHUNK + 90)
BOUND = 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine():
    async with started() as engine:
        yield engine


async def together(engine, requests):
    return [tokens for tokens, _ in await asyncio.gather(*(answer(engine, each) for each in requests))]


@asynccontextmanager
async def busy(engine, count=2):
    """Runs other sequences at the same time."""
    others = [
        asyncio.create_task(answer(engine, request(prompt(60 + n, 90 + n), f"o{n}", max_tokens=1500)))
        for n in range(count)
    ]
    try:
        await wait_for_cache(engine.cache, lambda: engine.load().running == count)
        yield
        assert engine.load().running == count, "the other sequences ended too early"
    finally:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await wait_for_cache(engine.cache, lambda: engine.load().running == 0)


# --- answers -----------------------------------------------------------------------------------------------------


async def test_it_implements_engine_and_reports_model_and_limits(engine):
    assert isinstance(engine, Engine)
    assert (engine.info.model, engine.info.context, engine.info.block_size) == (str(tiny_model()), CONTEXT, BLOCK)
    assert engine.info.total_blocks == SLOTS * CONTEXT // BLOCK
    assert set(engine.info.features) == {"logprobs", "seed", "logit_bias", "embeddings"}
    await engine.health()


async def test_greedy_answers_equal_those_of_transformers_alone_and_in_a_batch(engine):
    requests = [request(prompt(length, length), f"r{length}", max_tokens=40) for length in LENGTHS]
    alone = [(await answer(engine, each))[0] for each in requests]
    assert alone == [generated(reference(), each.tokens, 40) for each in requests]
    assert await together(engine, requests) == alone
    assert len({tuple(tokens) for tokens in alone}) == len(LENGTHS)


async def test_answers_of_different_lengths_share_a_batch(engine):
    """Rows join and leave in nearly every step, the longest one among them."""
    requests = [request(prompt(5 + 37 * n % 300, n), f"r{n}", max_tokens=1 + 11 * n % 45) for n in range(24)]
    expected = [generated(reference(), each.tokens, each.sampling.max_tokens) for each in requests]
    assert await together(engine, requests) == expected


def models():
    """Configurations of other model families: sliding windows, shared keys and values, learned positions."""
    small = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    wide = {"intermediate_size": 64, "max_position_embeddings": 512, "initializer_range": 0.4, "eos_token_id": 2}
    return {
        "mistral": transformers.MistralConfig(**small, **wide, num_key_value_heads=2, sliding_window=12),
        "qwen": transformers.Qwen2Config(**small, **wide, num_key_value_heads=1, tie_word_embeddings=True),
        "gemma": transformers.Gemma3TextConfig(
            **small, **wide, num_key_value_heads=2, head_dim=8, sliding_window=16, sliding_window_pattern=2
        ),
        "gpt": transformers.GPT2Config(
            vocab_size=300, n_embd=32, n_layer=2, n_head=4, n_positions=512, initializer_range=0.4, eos_token_id=2
        ),
    }


@pytest.mark.parametrize("family", ["mistral", "qwen", "gemma", "gpt"])
async def test_models_of_other_families_answer_as_in_transformers(family, tmp_path):
    torch.manual_seed(5)
    model = transformers.AutoModelForCausalLM.from_config(models()[family]).eval()
    model.save_pretrained(tmp_path)
    requests = [request([n + 3 for n in range(9 * k + 2)], f"r{k}", max_tokens=30) for k in range(6)]
    async with started(tmp_path, max_model_len=0) as engine:
        assert engine.info.context == 512
        found = await together(engine, requests)
    assert found == [generated(model, each.tokens, 30) for each in requests]
    assert len({tuple(tokens) for tokens in found}) > 1


async def test_tokens_are_streamed_and_the_last_delta_has_the_finish(engine):
    tokens, deltas = await answer(engine, request(prompt(40, 20), max_tokens=200))
    assert len(tokens) == 200
    assert len(deltas) > 8
    assert [delta.finish for delta in deltas] == [""] * (len(deltas) - 1) + ["length"]
    assert [delta.cached for delta in deltas] == [0] + [-1] * (len(deltas) - 1)


@pytest.mark.parametrize("sampling", [{}, RANDOM | {"seed": 3}, PENALTIES, RANDOM | PENALTIES | {"seed": 4}])
@pytest.mark.parametrize("cut", [1, 11, 29])
async def test_an_answer_continues_where_another_worker_stopped(engine, sampling, cut):
    start = prompt(45, 24)
    whole, _ = await answer(engine, request(start, max_tokens=30, **sampling))
    rest, deltas = await answer(engine, request(start + whole[:cut], max_tokens=30, generated=cut, **sampling))
    assert whole[:cut] + rest == whole
    assert deltas[-1].finish == "length"


async def test_a_complete_answer_gets_no_more_tokens(engine):
    for complete in (
        request(prompt(40), max_tokens=8, generated=8),
        request(prompt(CONTEXT), max_tokens=0, generated=8),
    ):
        tokens, deltas = await answer(engine, complete)
        assert (tokens, [delta.finish for delta in deltas]) == ([], ["length"])


@pytest.mark.parametrize("most", [0, 10**6])
async def test_an_answer_ends_at_the_context_limit(engine, most):
    tokens, deltas = await answer(engine, request(prompt(CONTEXT - 20), max_tokens=most))
    assert (len(tokens), deltas[-1].finish) == (20, "length")


# --- ends --------------------------------------------------------------------------------------------------------


async def test_a_stop_token_ends_the_answer_and_is_not_part_of_it(engine):
    whole, _ = await answer(engine, request(prompt(30, 22), max_tokens=20))
    stop = whole[9]
    token_request = request(prompt(30, 22), max_tokens=20, stop_tokens=(stop, 10**6), logprobs=0)
    tokens, deltas = await answer(engine, token_request)
    assert tokens == whole[: whole.index(stop)]
    assert deltas[-1].finish == "stop"
    assert sum(len(delta.logprobs) for delta in deltas) == len(tokens)


async def test_before_min_tokens_the_second_best_token_replaces_an_end_token(engine):
    whole, _ = await answer(engine, request(prompt(30, 22), max_tokens=20))
    token_request = request(prompt(30, 22), max_tokens=20, stop_tokens=(whole[2],), min_tokens=10)
    tokens, _ = await answer(engine, token_request)
    expected = generated(reference(), token_request.tokens, 10, suppress_tokens=[whole[2]])
    assert tokens[:10] == expected
    begun = request(
        token_request.tokens + tokens[:4], generated=4, max_tokens=20, stop_tokens=(whole[2],), min_tokens=10
    )
    assert tokens[:4] + (await answer(engine, begun))[0] == tokens


@pytest.mark.parametrize("shape", ["one", "several"])
async def test_the_models_own_end_tokens_count_unless_ignore_eos_is_set(engine, tmp_path, shape):
    whole, _ = await answer(engine, request(prompt(30, 22), max_tokens=20))
    end = whole[7]
    folder = shutil.copytree(tiny_model(), tmp_path / "model")
    ends = {"one": end, "several": [end, 511]}[shape]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    async with started(folder) as other:
        tokens, deltas = await answer(other, request(prompt(30, 22), max_tokens=20, ignore_eos=False))
        assert (tokens, deltas[-1].finish) == (whole[: whole.index(end)], "stop")
        assert (await answer(other, request(prompt(30, 22), max_tokens=20)))[0] == whole


# --- sampling ----------------------------------------------------------------------------------------------------


async def test_what_a_request_leaves_out_comes_from_the_model(engine, tmp_path):
    greedy, _ = await answer(engine, request(prompt(20, 21), max_tokens=12, temperature=0.0))
    folder = shutil.copytree(tiny_model(), tmp_path / "model")
    own = {"do_sample": True, "temperature": 0.7, "top_k": 1, "max_new_tokens": 12}
    (folder / "generation_config.json").write_text(json.dumps(own))
    async with started(folder) as other:
        absent = request(prompt(20, 21), max_tokens=0, temperature=None)
        tokens, deltas = await answer(other, absent)
        assert (tokens, deltas[-1].finish) == (greedy, "length")
        given = request(prompt(20, 21), max_tokens=30, temperature=1.0, top_k=0, seed=1)
        assert (await answer(other, given))[0] == (await answer(engine, given))[0]


async def test_a_seed_repeats_a_random_answer_in_any_batch(engine):
    requests = [request(prompt(20, 21), seed=seed, max_tokens=30, **RANDOM) for seed in (1, 1, 2)]
    one, again, other = [(await answer(engine, each))[0] for each in requests]
    assert one == again != other
    async with busy(engine):
        assert await together(engine, requests[1:]) == [one, other]


async def test_without_a_seed_answers_differ(engine):
    requests = [request(prompt(20, 21), f"r{n}", temperature=1.0, max_tokens=30) for n in range(3)]
    assert len({tuple(tokens) for tokens in await together(engine, requests)}) == 3


async def test_log_probabilities_are_those_of_the_model_before_sampling(engine):
    token_request = request(prompt(30, 23), logprobs=3, max_tokens=12, seed=1, **RANDOM)
    async with busy(engine):
        tokens, deltas = await answer(engine, token_request)
    entries = [entry for delta in deltas for entry in delta.logprobs]
    with torch.inference_mode():
        logits = reference()(torch.tensor([token_request.tokens + tokens])).logits[0]
    expected = torch.log_softmax(logits[len(token_request.tokens) - 1 : -1], -1)
    assert [entry[0][0] for entry in entries] == tokens
    for (own, *likeliest), row in zip(entries, expected, strict=True):
        best = row.topk(3)
        assert [token for token, _ in likeliest] == best.indices.tolist()
        assert [value for _, value in likeliest] == pytest.approx(best.values.tolist(), abs=1e-3)
        assert own[1] == pytest.approx(row[own[0]].item(), abs=1e-3)


async def test_each_request_gets_the_requested_number_of_log_probabilities(engine):
    requests = [request(prompt(20), f"r{n}", logprobs=n) for n in (None, 0, 2, 10**4)]
    answers = await asyncio.gather(*(answer(engine, each) for each in requests))
    sizes = [{len(entry) for delta in deltas for entry in delta.logprobs} for _, deltas in answers]
    assert sizes == [set(), {1}, {3}, {VOCABULARY + 1}]


async def test_the_repetition_penalty_equals_that_of_transformers(engine):
    token_request = request(prompt(30, 25), max_tokens=40, repetition_penalty=1.5)
    tokens, _ = await answer(engine, token_request)
    assert tokens == generated(reference(), token_request.tokens, 40, repetition_penalty=1.5)
    assert tokens != generated(reference(), token_request.tokens, 40)


@pytest.mark.parametrize("penalties", [{}, {"repetition_penalty": 1.5}], ids=str)
async def test_biases_of_tokens_equal_those_of_transformers(engine, penalties):
    plain, _ = await answer(engine, request(prompt(30, 27), max_tokens=20, **penalties))
    biases = {plain[0]: -100.0, plain[5]: -0.2, 77: 0.3}
    token_request = request(prompt(30, 27), max_tokens=20, logit_bias=biases, **penalties)
    tokens, _ = await answer(engine, token_request)
    expected = {(token,): bias for token, bias in biases.items()}
    assert tokens == generated(reference(), token_request.tokens, 20, sequence_bias=expected, **penalties)
    assert plain[0] not in tokens


async def test_a_bias_of_100_forces_a_token_in_a_random_answer(engine):
    tokens, _ = await answer(engine, request(prompt(30, 28), max_tokens=9, logit_bias={77: 100.0}, temperature=1.0))
    assert tokens == [77] * 9


async def test_presence_and_frequency_penalties_count_generated_tokens(engine):
    token_request = request(prompt(30, 26), max_tokens=25, presence_penalty=1.5, frequency_penalty=0.7)
    expected = []
    with torch.inference_mode():
        for _ in range(25):
            logits = reference()(torch.tensor([token_request.tokens + expected])).logits[0, -1]
            for token, times in Counter(expected).items():
                logits[token] -= 1.5 + 0.7 * times
            expected.append(int(logits.argmax()))
    tokens, _ = await answer(engine, token_request)
    assert tokens == expected
    assert tokens != (await answer(engine, request(token_request.tokens, max_tokens=25)))[0]


# --- waiting and cancelled requests ------------------------------------------------------------------------------


async def test_requests_wait_for_a_slot_in_order():
    async with started(slots=1) as engine:
        order = []

        async def read(name):
            async with aclosing(engine.generate(request(prompt(20, int(name)), name, max_tokens=30))) as deltas:
                found = [await anext(deltas)]
                order.append(name)
                found += [delta async for delta in deltas]
            return found[-1].finish

        tasks = [asyncio.create_task(read(str(n))) for n in range(5)]
        await wait_for_cache(engine.cache, lambda: engine.load().running == 1)
        assert engine.load().waiting >= 1
        assert await asyncio.gather(*tasks) == ["length"] * 5
        assert order == ["0", "1", "2", "3", "4"]
        assert engine.load().running == engine.load().waiting == engine.load().used_blocks == 0


async def test_load_counts_running_and_waiting_requests_and_blocks(engine):
    seen = []
    async with busy(engine, SLOTS):
        extra = asyncio.create_task(answer(engine, request(prompt(20), max_tokens=1)))
        await wait_for_cache(engine.cache, lambda: engine.load().waiting == 1)
        seen.append(engine.load())
        extra.cancel()
        await asyncio.gather(extra, return_exceptions=True)
    (load,) = seen
    assert (load.running, load.waiting, load.total_blocks) == (SLOTS, 1, SLOTS * CONTEXT // BLOCK)
    assert load.used_blocks >= SLOTS * -(-60 // BLOCK)
    assert engine.load().used_blocks == 0
    assert not engine.cache.blocks


@pytest.mark.parametrize("how", ["closed", "cancelled", "aborted"])
async def test_a_cancelled_request_frees_its_slot(how):
    async with started(slots=1) as engine:
        stream = engine.generate(request(prompt(600, 28), "first", max_tokens=1400))
        assert (await anext(stream)).tokens
        (first,) = engine._streams
        second = asyncio.create_task(answer(engine, request(prompt(30, 29), max_tokens=3)))
        await wait_for_cache(engine.cache, lambda: engine.load().waiting == 1)
        if how == "closed":
            await stream.aclose()
        elif how == "cancelled":
            reader = asyncio.create_task(drained(stream))
            await asyncio.sleep(0)
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            await stream.aclose()
        else:
            await engine.abort("first")
        async with asyncio.timeout(BOUND):
            assert len((await second)[0]) == 3
        assert first.finish == "abort"
        assert len(first.tokens) < 600 + 1400
        if how == "aborted":
            assert (await drained(stream))[-1].finish == "abort"


async def drained(stream):
    return [delta async for delta in stream]


async def test_a_request_cancelled_while_it_waits_is_never_started():
    async with started(slots=1) as engine:
        first = engine.generate(request(prompt(20, 28), "first", max_tokens=1400))
        await anext(first)
        gone = asyncio.create_task(answer(engine, request(prompt(20, 29), "gone", max_tokens=1400)))
        aborted = asyncio.create_task(answer(engine, request(prompt(20, 30), "aborted", max_tokens=1400)))
        last = asyncio.create_task(answer(engine, request(prompt(20, 31), "last", max_tokens=3)))
        await wait_for_cache(engine.cache, lambda: engine.load().waiting == 3)
        _, *sequences = engine._streams
        gone.cancel()
        await engine.abort("aborted")
        tokens, deltas = await aborted
        assert (tokens, [delta.finish for delta in deltas]) == ([], ["abort"])
        await first.aclose()
        assert len((await last)[0]) == 3
        assert [len(sequence.tokens) for sequence in sequences] == [20, 20, 23]


async def test_aborting_an_unknown_request_is_not_an_error(engine):
    await engine.abort("unknown")
    await engine.health()


REFUSED = {
    "an empty prompt": (request([]), "prompt is empty"),
    "a prompt as long as the context": (request(prompt(CONTEXT)), "2048 tokens; the context length"),
    "a prompt over the context": (request(prompt(CONTEXT + 900)), "2948 tokens; the context length"),
    "an unknown token": (request([7, VOCABULARY]), "token id 512 is not in"),
    "a negative token": (request([-1, 7]), "token id -1 is not in"),
    "an adapter": (request(prompt(9), adapter="poet"), "unknown adapter 'poet'"),
    "a transferred KV cache": (
        request(prompt(9), transfer={"blocks": []}),
        "cannot use a KV cache from another worker",
    ),
    "log probabilities of the prompt": (request(prompt(9), prompt_logprobs=0), "log probabilities of prompts"),
    "a choice": (request(prompt(9), structure=Structure("choice", ("a",))), "does not support answers from a list"),
    "a bias of an unknown token": (request(prompt(9), logit_bias={VOCABULARY: 1.0}), "not in the vocabulary"),
    "a bias of a negative token": (request(prompt(9), logit_bias={-1: 1.0}), "not in the vocabulary"),
    "a schema": (request(prompt(9), structure=Structure("json_schema", "{}")), "does not support JSON schemas"),
    "a negative temperature": (request(prompt(9), temperature=-1.0), "temperature is -1"),
    "a temperature of NaN": (request(prompt(9), temperature=float("nan")), "temperature is nan"),
    "a top_p over 1": (request(prompt(9), top_p=7.0), "top_p is 7"),
    "a top_p of 0": (request(prompt(9), top_p=0.0), "top_p is 0"),
    "a negative top_k": (request(prompt(9), top_k=-2), "top_k is -2"),
    "a min_p over 1": (request(prompt(9), min_p=1.5), "min_p is 1.5"),
    "a presence_penalty over 2": (request(prompt(9), presence_penalty=2.5), "presence_penalty is 2.5"),
    "a frequency_penalty below -2": (request(prompt(9), frequency_penalty=-3.0), "frequency_penalty is -3"),
    "a repetition_penalty of 0": (request(prompt(9), repetition_penalty=0.0), "repetition_penalty is 0"),
    "negative logprobs": (request(prompt(9), logprobs=-1), "logprobs is -1"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_invalid_requests_are_refused(engine, case):
    invalid, message = REFUSED[case]
    with pytest.raises(InvalidArgument, match=message):
        await answer(engine, invalid)
    assert engine.load().running == engine.load().waiting == 0


async def test_prefill_is_refused(engine):
    with pytest.raises(InvalidArgument, match="no connector"):
        await engine.prefill(request(prompt(40)))


# --- embeddings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [30, CONTEXT])
async def test_an_embedding_is_the_mean_of_the_last_hidden_states(engine, length):
    tokens = prompt(length, 40)
    with torch.inference_mode():
        mean = reference().model(torch.tensor([tokens])).last_hidden_state[0].mean(0)
    async with busy(engine):
        vector = await engine.embed(tokens)
    assert vector == pytest.approx((mean / mean.norm()).tolist(), abs=1e-5)
    assert sum(part * part for part in vector) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [([], "prompt is empty"), (prompt(CONTEXT + 1), "the context length"), ([999], "token id 999")],
)
async def test_invalid_texts_to_embed_are_refused(engine, tokens, message):
    with pytest.raises(InvalidArgument, match=message):
        await engine.embed(tokens)
