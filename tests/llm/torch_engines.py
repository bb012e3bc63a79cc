"""A real TorchEngine with the tiny model, and answers that transformers itself generates."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import cache

import torch
import transformers

from dynamo_nb.llm.engines.torch.engine import TorchEngine
from dynamo_nb.llm.engines.torch.options import TorchOptions
from dynamo_nb.llm.tiny import tiny_model

CONTEXT = 2048
SLOTS = 4
BLOCK = 16
RANDOM = {"temperature": 1.0, "top_p": 0.9, "top_k": 40, "min_p": 0.01}
PENALTIES = {"repetition_penalty": 1.3, "presence_penalty": 0.4, "frequency_penalty": 0.3}


@asynccontextmanager
async def started(model=None, **options):
    small = {"max_model_len": CONTEXT, "slots": SLOTS, "block_size": BLOCK, "threads": 1, "device": "cpu"}
    engine = TorchEngine(TorchOptions(model=str(model or tiny_model()), **small | options))
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()


@cache
def reference():
    """The same model, loaded by transformers."""
    return transformers.AutoModelForCausalLM.from_pretrained(tiny_model()).eval()


def generated(model, tokens, count, **options):
    """The tokens of transformers' own `generate`, without end tokens."""
    ids = torch.tensor([tokens])
    with torch.inference_mode():
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            do_sample=False,
            eos_token_id=[1 << 30],
            pad_token_id=0,
            **options,
        )
    return output[0, len(tokens) :].tolist()
