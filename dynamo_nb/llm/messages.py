"""The messages between the services of an LLM graph: text up to the processor, tokens behind it.

They are plain msgspec structs: an engine in another process or language reads them as maps and lists.
"""

from __future__ import annotations

from typing import Any

import msgspec

PromptLogprobs = list[tuple[int, float, int]]
"""`(token, log probability, rank)` for one token of a prompt: first the token itself, then the most likely tokens."""
Logprobs = list[tuple[int, float]]
"""`(token, log probability)` pairs for one generated token: first the token itself, then the most likely tokens."""


# --- between the processor, the router and the workers -----------------------------------------------------------


class Structure(msgspec.Struct, frozen=True, array_like=True):
    """The form that an answer must have.

    Attributes:
        kind: "json_schema", "regex", "choice", "grammar" or "structural_tag".
        value: The texts of which the answer is one, if `kind` is "choice". Otherwise one text: a JSON schema, a regular
            expression, a grammar in EBNF, or a structural tag of xgrammar as JSON.
    """

    kind: str
    value: str | tuple[str, ...]


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Parameters of sampling: the choice of tokens, and when to stop.

    A parameter that is None is absent from the request: the engine takes the model's own value, or else its own.

    Attributes:
        max_tokens: Most tokens to generate, including those of earlier attempts; 0 if absent.
        min_tokens: Tokens before which no end token counts.
        temperature: 0 for the most likely token always.
        top_p: Share of the probability mass to sample from.
        top_k: Number of tokens to sample from; 0 for all.
        min_p: Least probability of a token, relative to the most likely one.
        presence_penalty: Subtracted from the logits of tokens that were generated before.
        frequency_penalty: The same, once for each time that they were generated.
        repetition_penalty: Divides the logits of tokens in the prompt or the answer.
        seed: Makes the choice repeatable; None for a random one.
        stop_tokens: Token ids that end the answer, in addition to the model's own.
        ignore_eos: Continue after the model's own end tokens.
        logprobs: Number of the most likely tokens to report for each token; None for no log probabilities.
        prompt_logprobs: The same for the tokens of the prompt.
        logit_bias: Token -> what is added to its logit.
        structure: The form of the answer; None for free text.
    """

    max_tokens: int = 0
    min_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop_tokens: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    logit_bias: dict[int, float] = {}
    structure: Structure | None = None


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request for one sequence.

    Attributes:
        request_id: Identifies the request.
        tokens: The prompt, followed by the tokens generated so far.
        sampling: See Sampling.
        generated: Number of `tokens` that were generated; more than 0 only if another worker began the answer.
        adapter: Name of the LoRA adapter, "" for none.
        salt: Keeps the KV cache of its users apart from all others, "" for none.
        transfer: Data with which the engine's connector can use a KV cache from another worker, as `Engine.prefill`
            returned it; None to compute the prompt here.
    """

    request_id: str
    tokens: list[int]
    sampling: Sampling = Sampling()
    generated: int = 0
    adapter: str = ""
    salt: str = ""
    transfer: dict[str, Any] | None = None


class TokenDelta(msgspec.Struct, array_like=True, omit_defaults=True):
    """The next tokens of an answer.

    Attributes:
        tokens: One token, or several that came together.
        finish: "" unless this is the last delta. Then "stop" (an end token, which is not among the tokens), "length" or
            "abort".
        logprobs: One entry for each token, if the request asks for them.
        cached: In the first delta, the number of prompt tokens that were in the engine's KV cache; -1 if unknown.
        prompt_logprobs: In the first delta, one entry for each token of the prompt but the first, if the request asks
            for them.
    """

    tokens: list[int]
    finish: str = ""
    logprobs: list[Logprobs] = []
    cached: int = -1
    prompt_logprobs: list[PromptLogprobs] = []


class Load(msgspec.Struct, frozen=True, array_like=True):
    """The load of an engine.

    Attributes:
        running: Running requests.
        waiting: Waiting requests.
        used_blocks: KV blocks in use.
        total_blocks: All KV blocks.
    """

    running: int = 0
    waiting: int = 0
    used_blocks: int = 0
    total_blocks: int = 0

    @property
    def usage(self) -> float:
        """The share of the KV cache in use, 0 to 1."""
        return self.used_blocks / self.total_blocks if self.total_blocks else 0.0


class WorkerEvent(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A change at a worker. Its parts are applied in this order: cleared, removed, stored, load.

    Blocks are named by `block_hashes`, so that a name means the same in the events of every engine.

    Attributes:
        number: Increases by one. After a gap, the reader has to open the stream again.
        stored: Blocks that were added to the KV cache.
        removed: Blocks that were removed.
        cleared: True if all blocks were removed.
        load: The new load, if it changed.
    """

    number: int
    stored: list[int] = []
    removed: list[int] = []
    cleared: bool = False
    load: Load | None = None


class OpenPlacement(msgspec.Struct, frozen=True, array_like=True):
    """A request that a router has placed and that has not ended, for the other routers.

    Attributes:
        number: Identifies the placement at its router.
        worker: The instance that was chosen.
        tokens: Tokens of the prompt.
        names: Full blocks of the prompt, named by `block_hashes`.
        overlap: Number of them, from the first one on, that the worker held.
        expected: Number of them that the worker held or was about to compute for earlier requests.
    """

    number: int
    worker: int
    tokens: int
    names: list[int]
    overlap: int
    expected: int


class PlacementEvent(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A change of a router's open placements. Its parts are applied in this order: cleared, begun, ended.

    Attributes:
        number: Increases by one. After a gap, the reader has to open the stream again.
        begun: The new placements.
        ended: The numbers of placements that have ended.
        cleared: True if all placements were removed.
    """

    number: int
    begun: list[OpenPlacement] = []
    ended: list[int] = []
    cleared: bool = False


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The model and the limits of a worker.

    Attributes:
        model: Folder or name from which the tokenizer is loaded.
        context: Tokens of prompt and answer together.
        block_size: Tokens in a KV block.
        total_blocks: KV blocks of one worker.
        features: Optional abilities: "logprobs", "prompt_logprobs", "seed", "logit_bias", "lora", "embeddings",
            "events", "prefill", and the kinds of Structure.
        adapters: Names of LoRA adapters.
    """

    model: str
    context: int
    block_size: int
    total_blocks: int = 0
    features: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()


class Placement(msgspec.Struct, frozen=True):
    """The worker that a router chose for a request.

    Attributes:
        address: Address of the worker's endpoint.
        instance_id: The instance.
        overlap: Leading full blocks of the prompt that the worker holds.
        blocks: Full blocks of the prompt.
    """

    address: str
    instance_id: int
    overlap: int = 0
    blocks: int = 0

    @property
    def hit_rate(self) -> float:
        """The share of the prompt's full blocks that the worker holds, 0 to 1."""
        return self.overlap / self.blocks if self.blocks else 0.0


# --- between the frontend and the processor ----------------------------------------------------------------------


class TextRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request for the answer to a chat or a prompt.

    Attributes:
        request_id: Identifies the request.
        model: A name that `TextProcessor.models` returned.
        messages: The messages of a chat in the form of OpenAI's API; None for a prompt.
        prompt: A text or tokens.
        tools: Tools that the model may call, in the form of OpenAI's API.
        forced_tools: Names of tools, one of which the answer must call; empty if it need not.
        sampling: See Sampling.
        stop: Texts that end the answer and are not part of it.
        salt: See TokenRequest.
        parallel_tool_calls: True if one answer may call several tools.
        chat_template_kwargs: Variables of the chat template, before those of the processor's configuration. Among them
            may be `add_generation_prompt` and `continue_final_message`.
        echo: True if the answer begins with the prompt.
        prompt_only: True if the answer ends with the prompt, too.
        prompt_logprobs: True if the first piece has the log probabilities of the prompt.
    """

    request_id: str
    model: str
    messages: list[dict[str, Any]] | None = None
    prompt: str | list[int] = ""
    tools: list[dict[str, Any]] = []
    forced_tools: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    salt: str = ""
    parallel_tool_calls: bool = True
    chat_template_kwargs: dict[str, Any] = {}
    echo: bool = False
    prompt_only: bool = False
    prompt_logprobs: bool = False


class TextLogprob(msgspec.Struct, array_like=True):
    """A token of an answer with its log probability.

    Attributes:
        text: The token as text.
        data: The token as bytes.
        logprob: Its log probability; None for the first token of a prompt.
        top: `(text, bytes, log probability)` of the most likely tokens.
    """

    text: str
    data: bytes
    logprob: float | None
    top: list[tuple[str, bytes, float]] = []


class PromptToken(msgspec.Struct, array_like=True):
    """A token that was, or might have been, at a position of a prompt.

    Attributes:
        token: Its id.
        text: The token as text.
        logprob: Its log probability.
        rank: 1 for the most likely token.
    """

    token: int
    text: str
    logprob: float
    rank: int


class ToolCall(msgspec.Struct, frozen=True):
    """A call of a tool in an answer.

    Attributes:
        id: Identity of the call, which the client sends back with the result.
        name: Name of the tool.
        arguments: Its arguments, an object in JSON.
    """

    id: str
    name: str
    arguments: str


class TextDelta(msgspec.Struct, array_like=True, omit_defaults=True):
    """The next piece of an answer.

    Attributes:
        text: Whole characters; may be empty.
        tokens: Tokens generated for this piece.
        finish: "" unless this is the last piece; then "stop", "length", "tool_calls" or "abort".
        prompt_tokens: In the first piece, the tokens of the prompt; -1 if unknown.
        cached: In the first piece, the number of those in a KV cache; -1 if unknown.
        logprobs: One entry for each token, if the request asks for them.
        tool_calls: Tool calls that are complete now.
        prompt_logprobs: In the first piece, one entry for each token of the prompt but the first, if the request asks
            for them: the token itself, and the most likely ones.
    """

    text: str
    tokens: int = 0
    finish: str = ""
    prompt_tokens: int = -1
    cached: int = -1
    logprobs: list[TextLogprob] = []
    tool_calls: list[ToolCall] = []
    prompt_logprobs: list[list[PromptToken]] = []


class Embedding(msgspec.Struct, frozen=True):
    """The embedding of a text.

    Attributes:
        vector: The components.
        tokens: Tokens of the text.
    """

    vector: list[float]
    tokens: int


class ServedModel(msgspec.Struct, frozen=True):
    """A name that requests may use.

    Attributes:
        name: The name.
        info: The model behind it.
        adapter: Name of the LoRA adapter, if the name belongs to one.
    """

    name: str
    info: ModelInfo
    adapter: str = ""
