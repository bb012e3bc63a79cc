"""Requests in the form of OpenAI's API, read from JSON: their parameters and the values that these accept.

OpenAI's parameters that change the answer are supported or refused; the others are accepted and ignored. In addition
there are vLLM's own: top_k, min_p, repetition_penalty, min_tokens, ignore_eos, stop_token_ids, cache_salt.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from dynamo_nb.errors import suggestion
from dynamo_nb.llm.api.errors import ApiError, shortened

MAX_STOPS: Final = 16  # stop texts: each is searched in every piece of an answer
MAX_STOP_LENGTH: Final = 256  # characters of a stop text: as much of an answer is held back
MAX_STOP_TOKENS: Final = 64  # stop tokens: each is compared with every token
MAX_LOGPROBS: Final = 20  # OpenAI's limit
MAX_CHOICES: Final = 128  # OpenAI's limit of n; here of prompts times n, since each is a sequence of its own
MAX_TOOLS: Final = 128  # OpenAI's limit
COMPLETION_TOKENS: Final = 16  # OpenAI's default of max_tokens for completions; chats have none
TEMPERATURES: Final = (0, 2)  # OpenAI's limits
PENALTIES: Final = (-2, 2)  # OpenAI's limits

_PATH = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")

Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Natural = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Token = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Share = Annotated[float, Meta(ge=0, le=1)]
StopText = Annotated[str, Meta(min_length=1, max_length=MAX_STOP_LENGTH)]
Penalty = Annotated[float, Meta(ge=PENALTIES[0], le=PENALTIES[1])]
Texts = str | Annotated[list[Token | str | list[Token]], Meta(min_length=1)]
"""A text, tokens, or a list of either."""
B = TypeVar("B", bound="Body")


class StreamOptions(Struct, forbid_unknown_fields=True):
    """Options of a stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ResponseFormat(Struct, forbid_unknown_fields=True):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None


class Body(Struct, kw_only=True, forbid_unknown_fields=True):
    """The parameters of every request."""

    model: str
    user: Any = None


class Generation(Body, kw_only=True, forbid_unknown_fields=True):
    """The parameters of requests for generated text. None means that a parameter is absent, since clients send null."""

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    stop: StopText | Annotated[list[StopText], Meta(max_length=MAX_STOPS)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    temperature: Annotated[float, Meta(ge=TEMPERATURES[0], le=TEMPERATURES[1])] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    max_tokens: Count | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    response_format: ResponseFormat | None = None
    logit_bias: dict[str, float] | None = None
    # vLLM's own
    min_tokens: Natural | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Share | None = None
    repetition_penalty: Annotated[float, Meta(gt=0)] | None = None
    ignore_eos: bool | None = None
    stop_token_ids: Annotated[list[Token], Meta(max_length=MAX_STOP_TOKENS)] | None = None
    cache_salt: str | None = None
    # Ignored
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None

    @property
    def limit(self) -> int:
        """Most tokens of the answer; 0 if absent."""
        return self.max_tokens or 0

    @property
    def top_logprob_count(self) -> int | None:
        """Number of most likely tokens to report for each token; None for no log probabilities."""
        raise NotImplementedError

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatBody(Generation, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/chat/completions."""

    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    tools: Annotated[list[dict[str, Any]], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    modalities: list[str] | None = None
    audio: Any = None
    functions: Any = None
    function_call: Any = None
    web_search_options: Any = None
    prediction: Any = None  # ignored, like the next two: a hint for speed
    reasoning_effort: Any = None
    verbosity: Any = None

    @property
    def limit(self) -> int:
        return self.max_completion_tokens or self.max_tokens or 0

    @property
    def top_logprob_count(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionBody(Generation, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/completions."""

    prompt: Texts
    logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None

    @property
    def limit(self) -> int:
        return self.max_tokens or COMPLETION_TOKENS

    @property
    def top_logprob_count(self) -> int | None:
        return self.logprobs


class EmbeddingBody(Body, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/embeddings."""

    input: Texts
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


def read(kind: type[B], data: bytes) -> B:
    """Returns the request in a body.

    Args:
        kind: The type of the request.
        data: The body, JSON.

    Raises:
        ApiError: The body is invalid; the error names the parameter.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise _validation_error(kind, shortened(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(f"The body is not valid JSON: {error}", code="invalid_json") from None


def _validation_error(kind: type[Body], text: str) -> ApiError:
    """The message of msgspec as an error of OpenAI's API."""
    found = _PATH.match(text)
    assert found is not None
    what, path = found["what"], found["path"] or ""
    if unknown := _UNKNOWN.search(what):
        name = ".".join(filter(None, [path, unknown["name"]]))
        known = StreamOptions if path == "stream_options" else ResponseFormat if path == "response_format" else kind
        near = suggestion(unknown["name"], known.__struct_encode_fields__)
        return ApiError(f"Unrecognized request argument supplied: {name}; {near}", param=name, code="unknown_parameter")
    if missing := _MISSING.search(what):
        name = ".".join(filter(None, [path, missing["name"]]))
        return ApiError(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
    where = f"Invalid '{path}'" if path else "Invalid request"
    return ApiError(f"{where}: {what[:1].lower()}{what[1:]}.", param=path or None, code="invalid_value")
