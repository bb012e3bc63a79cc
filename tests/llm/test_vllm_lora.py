"""LoRA adapters in vLLM: answers of their own, and blocks of their own."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("vllm")

import pytest_asyncio
import torch
from safetensors.torch import save_file
from vllm_parts import BLOCK, answer, leading, prompt, request, started, until

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.llm.cache.blocks import block_hashes
from dynamo_nb.llm.tiny_model import tiny_model

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # those of vLLM and torch, which warn much
]

RANK = 8


def made(folder, seed):
    """An adapter of the tiny model, in the form of peft, that changes every answer."""
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
    modules = [f"{name}={made(folder / name, seed)}" for seed, name in enumerate(("one", "two"))]
    async with started(lora_modules=modules, max_lora_rank=RANK, max_loras=2) as engine:
        yield engine


async def test_each_adapter_has_answers_and_blocks_of_its_own(engine):
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
        await until(engine.cache, lambda mine=mine: leading(engine.cache, mine) == 3)
        answers.add(tuple(first))
    assert len(answers) == 3


async def test_an_adapter_and_a_salt_make_blocks_together(engine):
    tokens = prompt(2 * BLOCK + 1, 41)
    await answer(engine, request(tokens, adapter="one", salt="mine"))
    both = block_hashes(tokens, BLOCK, adapter="one", salt="mine")
    await until(engine.cache, lambda: leading(engine.cache, both) == 2)
    for others in ({"adapter": "one"}, {"salt": "mine"}, {}):
        assert leading(engine.cache, block_hashes(tokens, BLOCK, **others)) == 0


async def test_an_unknown_adapter_is_refused(engine):
    with pytest.raises(InvalidArgument, match="unknown adapter 'three'"):
        await answer(engine, request(prompt(9), adapter="three"))
