"""What the services of an LLM graph say to each other: text up to the processor, tokens beyond it.

Plain structs of msgspec: an engine in another process, or another language, reads them as maps and lists.
"""

from __future__ import annotations

from typing import Any

import msgspec

Logprobs = list[tuple[int, float]]
"""For one generated token: `(token, log probability)`, first of the token itself, then of the likeliest ones."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an engine chooses the next token, and when it stops.

    max_tokens: how many to generate at most, those of earlier attempts included; 0: up to the end of the context.
    min_tokens: how many before an end counts. temperature: 0 for the likeliest token always. top_k: 0 for all.
    seed: makes the choice repeatable. stop_tokens: ids that end the answer, beside the model's own.
    ignore_eos: go on after the model's own end. logprobs: how many of the likeliest tokens to tell beside each; None
    for no log probabilities at all. json_schema: the text of a JSON schema that the answer follows; "" for free text.
    """

    max_tokens: int = 0
    min_tokens: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop_tokens: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    json_schema: str = ""


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sequence to go on with.

    tokens: the prompt, and after it what was generated so far. generated: how many of `tokens` that is; more than 0
    only where another worker goes on with what a lost one began. adapter: the LoRA adapter's name, "" for none. salt:
    keeps the cache of those who share it apart from everyone else's. transfer: what the engine's connector needs to
    take over a KV cache that was computed elsewhere, as `Engine.prefill` gave it; None to compute it here.
    """

    request_id: str
    tokens: list[int]
    sampling: Sampling = Sampling()
    generated: int = 0
    adapter: str = ""
    salt: str = ""
    transfer: dict[str, Any] | None = None


class TokenDelta(msgspec.Struct, array_like=True, omit_defaults=True):
    """The next tokens of an answer: one, or several that came together.

    finish: "" while it goes on, else why it ended: "stop" (an end of the model's or one of `stop_tokens`, which is not
    among the tokens), "length", or "abort". logprobs: one entry for each token, where they were asked for. cached: in
    the first delta, how many tokens of the prompt were in the engine's cache; -1 where the engine does not say.
    """

    tokens: list[int]
    finish: str = ""
    logprobs: list[Logprobs] = []
    cached: int = -1


class Load(msgspec.Struct, frozen=True, array_like=True):
    """What an engine is busy with: requests that run and that wait, and KV blocks in use (of how many)."""

    running: int = 0
    waiting: int = 0
    used_blocks: int = 0
    total_blocks: int = 0

    @property
    def usage(self) -> float:
        """The share of the KV cache in use, 0 to 1."""
        return self.used_blocks / self.total_blocks if self.total_blocks else 0.0


class WorkerEvent(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What changed at a worker. Applied in this order: cleared, removed, stored, load.

    number: counts up by one; a gap means that events were lost, and that the stream has to be opened anew.
    Blocks are named by `blocks.block_hashes`, so that an event of any engine means the same everywhere.
    """

    number: int
    stored: list[int] = []
    removed: list[int] = []
    cleared: bool = False
    load: Load | None = None


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker serves.

    model: the path or name that its tokenizer is loaded from. context: tokens of prompt and answer together.
    block_size: tokens in a KV block. total_blocks: KV blocks of one worker. features: what else it can do, of
    "logprobs", "seed", "json_schema", "lora", "embeddings", "events", "prefill". adapters: names of LoRA adapters.
    """

    model: str
    context: int
    block_size: int
    total_blocks: int = 0
    features: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()


class Placement(msgspec.Struct, frozen=True):
    """Where a request goes: the endpoint's address, one of its instances, and the blocks that it has already."""

    address: str
    instance_id: int
    overlap: int = 0
    blocks: int = 0

    @property
    def hit_rate(self) -> float:
        """The share of the prompt's full blocks that the worker has, 0 to 1."""
        return self.overlap / self.blocks if self.blocks else 0.0


# --- between the frontend and the processor ----------------------------------------------------------------------


class TextRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A chat or a prompt to go on with.

    model: a name that `TextProcessor.models` gave. messages: of a chat, as OpenAI's API has them; None where `prompt`
    is given, a text or tokens. tools: the tools that a chat may call, as OpenAI's API has them. stop: texts that end
    the answer and are not part of it. salt: see TokenRequest. parallel_tool_calls: whether one answer may have several.
    """

    request_id: str
    model: str
    messages: list[dict[str, Any]] | None = None
    prompt: str | list[int] = ""
    tools: list[dict[str, Any]] = []
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    salt: str = ""
    parallel_tool_calls: bool = True


class TextLogprob(msgspec.Struct, array_like=True):
    """One generated token as text, its bytes, its log probability, and the likeliest ones `(text, bytes, logprob)`."""

    text: str
    data: bytes
    logprob: float
    top: list[tuple[str, bytes, float]] = []


class TextDelta(msgspec.Struct, array_like=True, omit_defaults=True):
    """The next piece of an answer.

    text: whole characters; may be empty. tokens: how many were generated for it. finish: "" while it goes on, else
    "stop", "length", "tool_calls" or "abort". prompt_tokens, cached: in the first delta, the tokens of the prompt, and
    those of them that were in a cache; -1 where not known. logprobs: where asked for. tool_calls: those of the answer,
    as OpenAI's API has them.
    """

    text: str
    tokens: int = 0
    finish: str = ""
    prompt_tokens: int = -1
    cached: int = -1
    logprobs: list[TextLogprob] = []
    tool_calls: list[dict[str, Any]] = []


class Embedding(msgspec.Struct, frozen=True):
    """The embedding of a text, and the tokens it has."""

    vector: list[float]
    tokens: int


class ServedModel(msgspec.Struct, frozen=True):
    """A name that requests may ask for, and what stands behind it. adapter: the LoRA adapter's name, if it is one."""

    name: str
    info: ModelInfo
    adapter: str = ""
