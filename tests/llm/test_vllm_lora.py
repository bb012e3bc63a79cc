"""LoRA adapters in vLLM: their answers and their blocks."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("vllm")

import pytest_asyncio
import torch
from safetensors.torch import save_file
from vllm_engines import BLOCK, answer, prompt, request, started, wait_for_cache

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.llm.cache.blocks import block_hashes
from dynamo_nb.llm.tiny import tiny_model

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # vLLM and torch emit many warnings
]

RANK = 8


def adapter(folder, seed):
    """An adapter of the tiny model, in the format of peft, that changes every answer."""
    config = json.loads((tiny_model() / "config.json").read_text())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    random = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(config["num_hidden_layers"]):
        for module, rows in (("gate_proj", inner), ("up_proj", inner)):
            name = f"base_model.model.model.layers.{layer}.mlp.{module}"
            weights[f"{name}.lora_A.weight"] = torch.randn(RANK, hidden, generator=random)
            weights[f"{name}.lora_B.weight"] = torch.randn(rows, RANK, generator=random)
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    kind = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": ["gate_proj", "up_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(kind | {"bias": "none", "task_type": "CAUSAL_LM"}))
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    modules = [f"{name}={adapter(folder / name, seed)}" for seed, name in enumerate(("one", "two"))]
    async with started(lora_modules=modules, max_lora_rank=RANK, max_loras=2) as engine:
        yield engine


async def test_each_adapter_has_its_own_answers_and_blocks(engine):
    assert engine.info.adapters == ("one", "two")
    assert "lora" in engine.info.features
    tokens = prompt(3 * BLOCK + 1, 40)
    answers = set()
    for name in ("", "one", "two"):
        first, deltas = await answer(engine, request(tokens, adapter=name))
        again, cached = await answer(engine, request(tokens, adapter=name))
        assert first == again
        assert (deltas[0].cached, cached[0].cached) == (0, 3 * BLOCK)
        mine = block_hashes(tokens, BLOCK, adapter=name)
        await wait_for_cache(engine.cache, lambda mine=mine: engine.cache.leading(mine) == 3)
        answers.add(tuple(first))
    assert len(answers) == 3


async def test_adapter_and_salt_together_determine_the_blocks(engine):
    tokens = prompt(2 * BLOCK + 1, 41)
    await answer(engine, request(tokens, adapter="one", salt="mine"))
    both = block_hashes(tokens, BLOCK, adapter="one", salt="mine")
    await wait_for_cache(engine.cache, lambda: engine.cache.leading(both) == 2)
    for others in ({"adapter": "one"}, {"salt": "mine"}, {}):
        assert engine.cache.leading(block_hashes(tokens, BLOCK, **others)) == 0


async def test_an_unknown_adapter_is_refused(engine):
    with pytest.raises(InvalidArgument, match="unknown adapter 'three'"):
        await answer(engine, request(prompt(9), adapter="three"))
