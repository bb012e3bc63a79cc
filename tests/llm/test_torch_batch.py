"""Sampling and scheduling in the thread of a TorchEngine."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
import transformers
from torch_engines import CONTEXT, PENALTIES, RANDOM, SLOTS
from vllm_engines import prompt, request

from dynamo_nb.llm.engines.torch.cache import SPARE
from dynamo_nb.llm.engines.torch.model import TorchModel
from dynamo_nb.llm.engines.torch.options import TorchOptions
from dynamo_nb.llm.engines.torch.sampling import sample
from dynamo_nb.llm.engines.torch.scheduler import CHUNK, TorchScheduler
from dynamo_nb.llm.engines.torch.sequence import TorchSequence
from dynamo_nb.llm.messages import Sampling, TokenRequest
from dynamo_nb.llm.tiny import VOCABULARY, tiny_model


def sequence(seed=0, generated=(), **sampling):
    token_request = TokenRequest(
        request_id="r", tokens=[1, *generated], generated=len(generated), sampling=Sampling(seed=seed, **sampling)
    )
    return TorchSequence(token_request, 10, (), VOCABULARY)


def warped(logits, sampling):
    """The probabilities after transformers' own logits processors, in vLLM's order."""
    processors = {
        "temperature": transformers.TemperatureLogitsWarper,
        "min_p": transformers.MinPLogitsWarper,
        "top_k": transformers.TopKLogitsWarper,
        "top_p": transformers.TopPLogitsWarper,
    }
    for name, kind in processors.items():
        if name in sampling:
            logits = kind(sampling[name])(None, logits)
    return torch.softmax(logits, -1)[0]


@pytest.mark.parametrize(
    "sampling",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 1.7},
        {"top_k": 3},
        {"top_p": 0.6},
        {"min_p": 0.2},
        {"temperature": 1.3, "top_k": 6, "top_p": 0.8, "min_p": 0.05},
    ],
    ids=str,
)
def test_tokens_are_sampled_with_their_probabilities(sampling):
    logits = torch.linspace(0, 3, 24)[torch.randperm(24, generator=torch.Generator().manual_seed(1))][None]
    draws = 6000
    tokens, _ = sample(logits.expand(draws, -1), [sequence(seed, **sampling) for seed in range(draws)])
    found = torch.bincount(torch.tensor(tokens), minlength=24) / draws
    expected = warped(logits, sampling)
    assert set(found.nonzero()[:, 0].tolist()) <= set(expected.nonzero()[:, 0].tolist())
    deviation = (expected * (1 - expected) / draws).sqrt()
    assert ((found - expected).abs() <= 4.5 * deviation + 1e-9).all()


def test_the_token_of_a_row_does_not_depend_on_other_rows():
    kinds = [
        {},
        {"top_k": 3},
        {"top_p": 0.5},
        {"min_p": 0.1},
        {"temperature": 0.0},
        PENALTIES,
        RANDOM | {"logprobs": 2},
    ]
    logits = torch.randn(len(kinds), VOCABULARY, generator=torch.Generator().manual_seed(2)) * 3

    def rows():
        return [sequence(seed, [5, 6, 6], **kind) for seed, kind in enumerate(kinds)]

    tokens, logprobs = sample(logits, rows())
    for place, row in enumerate(rows()):
        assert sample(logits[place : place + 1], [row]) == ([tokens[place]], [logprobs[place]])


def test_the_most_likely_token_is_never_excluded():
    logits = torch.zeros(1, VOCABULARY)
    logits[0, 7] = 1e-3
    for sampling in ({"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}, {"temperature": 1e-4}, {"temperature": 1e-30}):
        assert sample(logits, [sequence(**sampling)]) == ([7], [[]])


@pytest.fixture(scope="module")
def model():
    """The model of an engine's thread."""
    return TorchModel(TorchOptions(model=str(tiny_model()), max_model_len=CONTEXT, device="cpu"))


def started(scheduler, length, most):
    sequence = TorchSequence(request(prompt(length, length)), most, (), VOCABULARY)
    scheduler.add(sequence)
    return sequence


def test_running_sequences_continue_while_a_long_prompt_is_computed(model):
    scheduler = TorchScheduler(model, SLOTS)
    short = started(scheduler, 20, 30)
    scheduler.step()
    long = started(scheduler, 3 * CHUNK + 1, 30)
    results = [[sequence for sequence, *_ in scheduler.step().results] for _ in range(5)]
    assert results == [[short], [short], [short], [short, long], [short, long]]


def test_short_prompts_are_computed_in_one_step(model):
    scheduler = TorchScheduler(model, SLOTS)
    sequences = [started(scheduler, length, 3) for length in (9, 20, 31, 40, 50)]
    step = scheduler.step()
    assert step.started == [sequence for sequence, *_ in step.results] == sequences[:SLOTS]


def test_the_prompt_of_a_dropped_sequence_is_not_computed_further(model):
    scheduler = TorchScheduler(model, 1)
    long = started(scheduler, 3 * CHUNK + 1, 30)
    assert scheduler.step().started == [long]
    scheduler.drop(long)
    short = started(scheduler, 20, 1)
    step = scheduler.step()
    assert step.started == [sequence for sequence, *_ in step.results] == [short]
    assert scheduler.idle


def test_a_batch_holds_only_the_columns_of_its_longest_sequence(model):
    scheduler = TorchScheduler(model, SLOTS)
    sequences = [started(scheduler, length, 100) for length in (20, 300, 70)]
    scheduler.step()
    scheduler.drop(sequences[1])
    scheduler.step()
    layer = scheduler._batch._cache.layers[0]
    assert (layer.keys.shape[0], layer.keys.shape[-2]) == (2, 71)
    assert layer.keys.untyped_storage().nbytes() <= 2 * (71 + SPARE) * layer.keys[0, :, 0].nbytes
