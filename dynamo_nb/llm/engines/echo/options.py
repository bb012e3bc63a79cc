"""The options of an EchoEngine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True, eq=False, repr=False)
class EchoOptions:
    """The options of an EchoEngine, which are also the configuration of the services that hold one.

    Args:
        model: Folder or name of the model whose tokenizer is used; the engine itself needs no model.
        max_model_len: Tokens of prompt and answer together; 0 for as many as the cache holds.
        block_size: Tokens in a block of the KV cache.
        blocks: Blocks in the KV cache.
        slots: Sequences that run at the same time; further requests wait in the order of their arrival.
        tokens_per_second: Speed of one answer; 0 for as fast as it is read.
        prefill_tokens_per_second: Speed at which the engine computes prompts, one after the other; 0 for no delay.
        tokens_per_delta: Tokens that are sent together.
    """

    model: str = ""
    max_model_len: int = 16384
    block_size: int = 64
    blocks: int = 2048
    slots: int = 64
    tokens_per_second: float = 0.0
    prefill_tokens_per_second: float = 0.0
    tokens_per_delta: int = 1
