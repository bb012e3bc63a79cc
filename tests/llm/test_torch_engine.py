"""TorchEngine: answers beside transformers' own, and who waits and who leaves."""

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
from torch_parts import BLOCK, CHANCE, CONTEXT, PENAL, SLOTS, generated, reference, started
from vllm_parts import answer, prompt, request, until

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.llm.engines.engine import Engine
from dynamo_nb.llm.engines.torch.scheduler import CHUNK
from dynamo_nb.llm.tiny_model import VOCABULARY, tiny_model

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
    """Other sequences run meanwhile."""
    others = [
        asyncio.create_task(answer(engine, request(prompt(60 + n, 90 + n), f"o{n}", max_tokens=1500)))
        for n in range(count)
    ]
    try:
        await until(engine.cache, lambda: engine.load().running == count)
        yield
        assert engine.load().running == count, "the others had ended before"
    finally:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await until(engine.cache, lambda: engine.load().running == 0)


# --- answers ------------------------------------------------------------------------------------------------------


async def test_it_is_an_engine_and_tells_what_it_serves(engine):
    assert isinstance(engine, Engine)
    assert (engine.info.model, engine.info.context, engine.info.block_size) == (str(tiny_model()), CONTEXT, BLOCK)
    assert engine.info.total_blocks == SLOTS * CONTEXT // BLOCK
    assert set(engine.info.features) == {"logprobs", "seed", "embeddings"}
    await engine.health()


async def test_greedy_answers_are_those_of_transformers_alone_and_beside_others(engine):
    asked = [request(prompt(length, length), f"r{length}", max_tokens=40) for length in LENGTHS]
    alone = [(await answer(engine, each))[0] for each in asked]
    assert alone == [generated(reference(), each.tokens, 40) for each in asked]
    assert await together(engine, asked) == alone
    assert len({tuple(tokens) for tokens in alone}) == len(LENGTHS)


async def test_answers_of_different_lengths_come_and_go_beside_each_other(engine):
    """Rows join and leave at nearly every step, the longest among them."""
    asked = [request(prompt(5 + 37 * n % 300, n), f"r{n}", max_tokens=1 + 11 * n % 45) for n in range(24)]
    expected = [generated(reference(), each.tokens, each.sampling.max_tokens) for each in asked]
    assert await together(engine, asked) == expected


def models():
    """Configurations of other families: windows of attention, shared keys and values, learned positions."""
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
async def test_other_families_answer_as_transformers_does(family, tmp_path):
    torch.manual_seed(5)
    model = transformers.AutoModelForCausalLM.from_config(models()[family]).eval()
    model.save_pretrained(tmp_path)
    asked = [request([n + 3 for n in range(9 * k + 2)], f"r{k}", max_tokens=30) for k in range(6)]
    async with started(tmp_path, max_model_len=0) as engine:
        assert engine.info.context == 512
        found = await together(engine, asked)
    assert found == [generated(model, each.tokens, 30) for each in asked]
    assert len({tuple(tokens) for tokens in found}) > 1


async def test_tokens_come_as_they_are_made_and_the_last_delta_has_the_finish(engine):
    tokens, deltas = await answer(engine, request(prompt(40, 20), max_tokens=200))
    assert len(tokens) == 200
    assert len(deltas) > 8
    assert [delta.finish for delta in deltas] == [""] * (len(deltas) - 1) + ["length"]
    assert [delta.cached for delta in deltas] == [0] + [-1] * (len(deltas) - 1)


@pytest.mark.parametrize("sampling", [{}, CHANCE | {"seed": 3}, PENAL, CHANCE | PENAL | {"seed": 4}])
@pytest.mark.parametrize("cut", [1, 11, 29])
async def test_an_answer_goes_on_where_another_worker_stopped(engine, sampling, cut):
    start = prompt(45, 24)
    whole, _ = await answer(engine, request(start, max_tokens=30, **sampling))
    rest, deltas = await answer(engine, request(start + whole[:cut], max_tokens=30, generated=cut, **sampling))
    assert whole[:cut] + rest == whole
    assert deltas[-1].finish == "length"


async def test_nothing_is_left_to_make_of_an_answer_that_is_complete(engine):
    for asked in (
        request(prompt(40), max_tokens=8, generated=8),
        request(prompt(CONTEXT), max_tokens=0, generated=8),
    ):
        tokens, deltas = await answer(engine, asked)
        assert (tokens, [delta.finish for delta in deltas]) == ([], ["length"])


@pytest.mark.parametrize("most", [0, 10**6])
async def test_an_answer_has_as_many_tokens_as_the_context_has_room_for(engine, most):
    tokens, deltas = await answer(engine, request(prompt(CONTEXT - 20), max_tokens=most))
    assert (len(tokens), deltas[-1].finish) == (20, "length")


# --- ends ---------------------------------------------------------------------------------------------------------


async def test_a_stop_token_ends_the_answer_and_is_not_part_of_it(engine):
    whole, _ = await answer(engine, request(prompt(30, 22), max_tokens=20))
    stop = whole[9]
    asked = request(prompt(30, 22), max_tokens=20, stop_tokens=(stop, 10**6), logprobs=0)
    tokens, deltas = await answer(engine, asked)
    assert tokens == whole[: whole.index(stop)]
    assert deltas[-1].finish == "stop"
    assert sum(len(delta.logprobs) for delta in deltas) == len(tokens)


async def test_before_min_tokens_the_next_best_token_stands_for_an_end(engine):
    whole, _ = await answer(engine, request(prompt(30, 22), max_tokens=20))
    asked = request(prompt(30, 22), max_tokens=20, stop_tokens=(whole[2],), min_tokens=10)
    tokens, _ = await answer(engine, asked)
    expected = generated(reference(), asked.tokens, 10, suppress_tokens=[whole[2]])
    assert tokens[:10] == expected
    begun = request(asked.tokens + tokens[:4], generated=4, max_tokens=20, stop_tokens=(whole[2],), min_tokens=10)
    assert tokens[:4] + (await answer(engine, begun))[0] == tokens


@pytest.mark.parametrize("shape", ["one", "several"])
async def test_the_models_own_ends_count_unless_they_are_to_be_ignored(engine, tmp_path, shape):
    whole, _ = await answer(engine, request(prompt(30, 22), max_tokens=20))
    end = whole[7]
    folder = shutil.copytree(tiny_model(), tmp_path / "model")
    ends = {"one": end, "several": [end, 511]}[shape]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    async with started(folder) as other:
        tokens, deltas = await answer(other, request(prompt(30, 22), max_tokens=20, ignore_eos=False))
        assert (tokens, deltas[-1].finish) == (whole[: whole.index(end)], "stop")
        assert (await answer(other, request(prompt(30, 22), max_tokens=20)))[0] == whole


# --- choices ------------------------------------------------------------------------------------------------------


async def test_a_seed_repeats_a_random_answer_whatever_else_runs(engine):
    asked = [request(prompt(20, 21), seed=seed, max_tokens=30, **CHANCE) for seed in (1, 1, 2)]
    one, again, other = [(await answer(engine, each))[0] for each in asked]
    assert one == again != other
    async with busy(engine):
        assert await together(engine, asked[1:]) == [one, other]


async def test_without_a_seed_answers_differ(engine):
    asked = [request(prompt(20, 21), f"r{n}", temperature=1.0, max_tokens=30) for n in range(3)]
    assert len({tuple(tokens) for tokens in await together(engine, asked)}) == 3


async def test_log_probabilities_are_those_of_the_model_itself(engine):
    asked = request(prompt(30, 23), logprobs=3, max_tokens=12, seed=1, **CHANCE)
    async with busy(engine):
        tokens, deltas = await answer(engine, asked)
    entries = [entry for delta in deltas for entry in delta.logprobs]
    with torch.inference_mode():
        logits = reference()(torch.tensor([asked.tokens + tokens])).logits[0]
    expected = torch.log_softmax(logits[len(asked.tokens) - 1 : -1], -1)
    assert [entry[0][0] for entry in entries] == tokens
    for (own, *likeliest), row in zip(entries, expected, strict=True):
        best = row.topk(3)
        assert [token for token, _ in likeliest] == best.indices.tolist()
        assert [value for _, value in likeliest] == pytest.approx(best.values.tolist(), abs=1e-3)
        assert own[1] == pytest.approx(row[own[0]].item(), abs=1e-3)


async def test_each_has_as_many_log_probabilities_as_it_asked_for(engine):
    asked = [request(prompt(20), f"r{n}", logprobs=n) for n in (None, 0, 2, 10**4)]
    answers = await asyncio.gather(*(answer(engine, each) for each in asked))
    sizes = [{len(entry) for delta in deltas for entry in delta.logprobs} for _, deltas in answers]
    assert sizes == [set(), {1}, {3}, {VOCABULARY + 1}]


async def test_repetition_counts_as_in_transformers(engine):
    asked = request(prompt(30, 25), max_tokens=40, repetition_penalty=1.5)
    tokens, _ = await answer(engine, asked)
    assert tokens == generated(reference(), asked.tokens, 40, repetition_penalty=1.5)
    assert tokens != generated(reference(), asked.tokens, 40)


async def test_presence_and_frequency_count_what_was_generated(engine):
    asked = request(prompt(30, 26), max_tokens=25, presence_penalty=1.5, frequency_penalty=0.7)
    expected = []
    with torch.inference_mode():
        for _ in range(25):
            logits = reference()(torch.tensor([asked.tokens + expected])).logits[0, -1]
            for token, times in Counter(expected).items():
                logits[token] -= 1.5 + 0.7 * times
            expected.append(int(logits.argmax()))
    tokens, _ = await answer(engine, asked)
    assert tokens == expected
    assert tokens != (await answer(engine, request(asked.tokens, max_tokens=25)))[0]


# --- who waits, who leaves ----------------------------------------------------------------------------------------


async def test_those_beyond_the_slots_wait_in_order():
    async with started(slots=1) as engine:
        order = []

        async def read(name):
            async with aclosing(engine.generate(request(prompt(20, int(name)), name, max_tokens=30))) as deltas:
                found = [await anext(deltas)]
                order.append(name)
                found += [delta async for delta in deltas]
            return found[-1].finish

        tasks = [asyncio.create_task(read(str(n))) for n in range(5)]
        await until(engine.cache, lambda: engine.load().running == 1)
        assert engine.load().waiting >= 1
        assert await asyncio.gather(*tasks) == ["length"] * 5
        assert order == ["0", "1", "2", "3", "4"]
        assert engine.load().running == engine.load().waiting == engine.load().used_blocks == 0


async def test_load_counts_who_runs_who_waits_and_their_blocks(engine):
    seen = []
    async with busy(engine, SLOTS):
        extra = asyncio.create_task(answer(engine, request(prompt(20), max_tokens=1)))
        await until(engine.cache, lambda: engine.load().waiting == 1)
        seen.append(engine.load())
        extra.cancel()
        await asyncio.gather(extra, return_exceptions=True)
    (load,) = seen
    assert (load.running, load.waiting, load.total_blocks) == (SLOTS, 1, SLOTS * CONTEXT // BLOCK)
    assert load.used_blocks >= SLOTS * -(-60 // BLOCK)
    assert engine.load().used_blocks == 0
    assert not engine.cache.blocks


@pytest.mark.parametrize("how", ["closed", "cancelled", "aborted"])
async def test_who_leaves_frees_the_slot_for_the_next(how):
    async with started(slots=1) as engine:
        stream = engine.generate(request(prompt(600, 28), "first", max_tokens=1400))
        assert (await anext(stream)).tokens
        (first,) = engine._streams
        second = asyncio.create_task(answer(engine, request(prompt(30, 29), max_tokens=3)))
        await until(engine.cache, lambda: engine.load().waiting == 1)
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


async def test_who_leaves_before_its_turn_is_never_begun():
    async with started(slots=1) as engine:
        first = engine.generate(request(prompt(20, 28), "first", max_tokens=1400))
        await anext(first)
        gone = asyncio.create_task(answer(engine, request(prompt(20, 29), "gone", max_tokens=1400)))
        aborted = asyncio.create_task(answer(engine, request(prompt(20, 30), "aborted", max_tokens=1400)))
        last = asyncio.create_task(answer(engine, request(prompt(20, 31), "last", max_tokens=3)))
        await until(engine.cache, lambda: engine.load().waiting == 3)
        _, *sequences = engine._streams
        gone.cancel()
        await engine.abort("aborted")
        tokens, deltas = await aborted
        assert (tokens, [delta.finish for delta in deltas]) == ([], ["abort"])
        await first.aclose()
        assert len((await last)[0]) == 3
        assert [len(sequence.tokens) for sequence in sequences] == [20, 20, 23]


async def test_to_abort_what_is_not_there_is_no_error(engine):
    await engine.abort("nobody")
    await engine.health()


REFUSED = {
    "an empty prompt": (request([]), "prompt is empty"),
    "a prompt as long as the context": (request(prompt(CONTEXT)), "2048 tokens; the context length"),
    "a prompt over the context": (request(prompt(CONTEXT + 900)), "2948 tokens; the context length"),
    "a token that the model has not": (request([7, VOCABULARY]), "token id 512 is not in"),
    "a negative token": (request([-1, 7]), "token id -1 is not in"),
    "an adapter": (request(prompt(9), adapter="poet"), "unknown adapter 'poet'"),
    "a cache from elsewhere": (
        request(prompt(9), transfer={"blocks": []}),
        "cannot use a KV cache from another worker",
    ),
    "a schema": (request(prompt(9), json_schema="{}"), "does not support JSON schemas"),
    "a temperature below 0": (request(prompt(9), temperature=-1.0), "temperature is -1"),
    "a temperature that is no number": (request(prompt(9), temperature=float("nan")), "temperature is nan"),
    "a top_p over 1": (request(prompt(9), top_p=7.0), "top_p is 7"),
    "a top_p of 0": (request(prompt(9), top_p=0.0), "top_p is 0"),
    "a top_k below 0": (request(prompt(9), top_k=-2), "top_k is -2"),
    "a min_p over 1": (request(prompt(9), min_p=1.5), "min_p is 1.5"),
    "a presence_penalty over 2": (request(prompt(9), presence_penalty=2.5), "presence_penalty is 2.5"),
    "a frequency_penalty below -2": (request(prompt(9), frequency_penalty=-3.0), "frequency_penalty is -3"),
    "a repetition_penalty of 0": (request(prompt(9), repetition_penalty=0.0), "repetition_penalty is 0"),
    "logprobs below 0": (request(prompt(9), logprobs=-1), "logprobs is -1"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refuses(engine, case):
    asked, said = REFUSED[case]
    with pytest.raises(InvalidArgument, match=said):
        await answer(engine, asked)
    assert engine.load().running == engine.load().waiting == 0


async def test_it_hands_no_cache_over(engine):
    with pytest.raises(InvalidArgument, match="no connector"):
        await engine.prefill(request(prompt(40)))


# --- embeddings ---------------------------------------------------------------------------------------------------


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
    ("tokens", "said"), [([], "prompt is empty"), (prompt(CONTEXT + 1), "the context length"), ([999], "token id 999")]
)
async def test_no_embedding_of(engine, tokens, said):
    with pytest.raises(InvalidArgument, match=said):
        await engine.embed(tokens)
