"""Requests in the form of OpenAI's API, read from JSON: their parameters and the values that these accept.

The types have the parameters that are supported: OpenAI's, and vLLM's top_k, min_p, repetition_penalty, min_tokens,
ignore_eos, stop_token_ids, structured_outputs, prompt_logprobs and cache_salt. `fields.py` decides about all others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from dynamo_nb.llm.api.errors import ApiError, shortened
from dynamo_nb.llm.api.fields import IgnoredFields, check_unknown_fields

MAX_STOPS: Final = 16  # stop texts: each is searched in every piece of an answer
MAX_STOP_LENGTH: Final = 256  # characters of a stop text: as much of an answer is held back
MAX_STOP_TOKENS: Final = 64  # stop tokens: each is compared with every token
MAX_SALT: Final = 128  # characters, as in vLLM
MAX_LOGPROBS: Final = 20  # OpenAI's limit
MAX_CHOICES: Final = 128  # OpenAI's limit of n; here of prompts times n, since each is a sequence of its own
MAX_TOOLS: Final = 128  # OpenAI's limit
COMPLETION_TOKENS: Final = 16  # OpenAI's default of max_tokens for completions; chats have none
TEMPERATURES: Final = (0, 2)  # OpenAI's limits
PENALTIES: Final = (-2, 2)  # OpenAI's limits
BIASES: Final = (-100, 100)  # OpenAI's limits

_PATH = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")

Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Natural = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Token = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Share = Annotated[float, Meta(ge=0, le=1)]
StopText = Annotated[str, Meta(min_length=1, max_length=MAX_STOP_LENGTH)]
TopK = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
Factor = Annotated[float, Meta(gt=0)]
Bias = Annotated[float, Meta(ge=BIASES[0], le=BIASES[1])]
Penalty = Annotated[float, Meta(ge=PENALTIES[0], le=PENALTIES[1])]
Salt = Annotated[str, Meta(min_length=1, max_length=MAX_SALT, pattern=r"^[^@/\\\x00]*$")]
"""Without characters that parts of a path have: some stores of KV caches make names of files from it, as vLLM says."""
Texts = str | Annotated[list[Token | str | list[Token]], Meta(min_length=1)]
"""A text, tokens, or a list of either."""
B = TypeVar("B", bound="Body")


class StreamOptions(Struct):
    """Options of a stream."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None  # vLLM's own: the usage so far in every event
    include_obfuscation: bool | None = None


class ResponseFormat(Struct):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None


class StructuredOutputs(Struct):
    """vLLM's own parameter for the form of the answer: one of its fields."""

    json: str | dict[str, Any] | None = None
    json_object: bool | None = None
    regex: str | None = None
    choice: Annotated[list[str], Meta(min_length=1)] | None = None
    grammar: str | None = None
    structural_tag: str | None = None


class Extension(Struct):
    """NVIDIA's parameters, in the field `nvext`."""

    ignore_eos: bool | None = None
    top_k: TopK | None = None
    repetition_penalty: Factor | None = None
    greed_sampling: bool | None = None


class Body(Struct, kw_only=True):
    """The parameters of every request.

    Attributes:
        defaults: Field that the type does not have -> its default, where it is another one than in `fields.DEFAULTS`.
    """

    defaults: ClassVar[Mapping[str, Any]] = {}
    model: str


class Generation(Body, kw_only=True):
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
    logit_bias: dict[str, Bias] | None = None
    # vLLM's own
    structured_outputs: StructuredOutputs | None = None
    prompt_logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    min_tokens: Natural | None = None
    top_k: TopK | None = None
    min_p: Share | None = None
    repetition_penalty: Factor | None = None
    ignore_eos: bool | None = None
    stop_token_ids: Annotated[list[Token], Meta(max_length=MAX_STOP_TOKENS)] | None = None
    cache_salt: Salt | None = None
    nvext: Extension | None = None

    def __post_init__(self) -> None:
        extension = self.nvext or Extension()
        for name in ("ignore_eos", "top_k", "repetition_penalty"):
            if getattr(self, name) is None:
                setattr(self, name, getattr(extension, name))
        if extension.greed_sampling:
            self.temperature = 0.0

    @property
    def limit(self) -> int:
        """Most tokens of the answer; 0 if absent."""
        return self.max_tokens or 0

    @property
    def top_logprob_count(self) -> int | None:
        """Number of most likely tokens to report for each token; None for no log probabilities."""
        raise NotImplementedError

    @property
    def candidates(self) -> int:
        """Sequences of each prompt, of which the answer has the best `n`."""
        return self.n or 1

    @property
    def names_tool(self) -> bool:
        """True if the answer must call the tool that the request names."""
        return False

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def continuous_usage(self) -> bool:
        return self.include_usage and bool(self.stream_options and self.stream_options.continuous_usage_stats)


class ChatBody(Generation, kw_only=True):
    """POST /v1/chat/completions."""

    defaults: ClassVar[Mapping[str, Any]] = {"add_special_tokens": False}
    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    tools: Annotated[list[dict[str, Any]], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    # vLLM's own
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    documents: list[dict[str, Any]] | None = None

    @property
    def limit(self) -> int:
        return self.max_completion_tokens or self.max_tokens or 0

    @property
    def template_variables(self) -> dict[str, Any]:
        """Variables of the chat template. As in vLLM, an effort also decides whether a model thinks."""
        effort = self.reasoning_effort
        variables = {"enable_thinking": None if effort is None else effort != "none"}
        variables |= self.chat_template_kwargs or {}
        fields = ("reasoning_effort", "add_generation_prompt", "continue_final_message", "documents")
        variables |= {name: value for name in fields if (value := getattr(self, name)) is not None}
        if variables.get("continue_final_message"):
            variables.setdefault("add_generation_prompt", False)
        return {name: value for name, value in variables.items() if value is not None}

    @property
    def top_logprob_count(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def names_tool(self) -> bool:
        return isinstance(self.tool_choice, dict) and self.tool_choice.get("type") == "function"


class CompletionBody(Generation, kw_only=True):
    """POST /v1/completions."""

    prompt: Texts
    max_tokens: Natural | None = None  # 0 for the prompt alone
    logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    echo: bool | None = None
    best_of: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None

    @property
    def limit(self) -> int:
        return COMPLETION_TOKENS if self.max_tokens is None else self.max_tokens

    @property
    def top_logprob_count(self) -> int | None:
        return self.logprobs

    @property
    def candidates(self) -> int:
        return self.best_of or self.n or 1


class EmbeddingBody(Body, kw_only=True):
    """POST /v1/embeddings."""

    input: Texts
    encoding_format: Literal["float", "base64"] | None = None


PARAMETERS: Final = frozenset(
    name for kind in (ChatBody, CompletionBody, EmbeddingBody) for name in kind.__struct_encode_fields__
)
"""The parameters of all requests."""
OBJECTS: Final[Mapping[str, type[Struct]]] = {
    "stream_options": StreamOptions,
    "response_format": ResponseFormat,
    "structured_outputs": StructuredOutputs,
    "nvext": Extension,
}
"""The parameters that are objects."""


def read(kind: type[B], data: bytes, ignored: IgnoredFields | None = None) -> B:
    """Returns the request in a body.

    Args:
        kind: The type of the request.
        data: The body, JSON.
        ignored: Receives the fields that are ignored.

    Raises:
        ApiError: The body is invalid; the error names the parameter.
    """
    ignored = ignored or IgnoredFields()
    try:
        fields = _FIELDS.decode(data)
        check_unknown_fields(kind, fields, PARAMETERS, "", ignored)
        body = msgspec.json.decode(data, type=kind)
        for name, part in OBJECTS.items():
            if getattr(body, name, None) is not None:
                check_unknown_fields(part, _FIELDS.decode(fields[name]), frozenset(), name, ignored)
        return body
    except msgspec.ValidationError as error:
        raise _validation_error(shortened(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(f"The body is not valid JSON: {error}", code="invalid_json") from None


_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _validation_error(text: str) -> ApiError:
    """The message of msgspec as an error of OpenAI's API."""
    found = _PATH.match(text)
    assert found is not None
    what, path = found["what"], (found["path"] or "").removesuffix("[...]")  # of the values of an object
    if missing := _MISSING.search(what):
        name = ".".join(filter(None, [path, missing["name"]]))
        return ApiError(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
    where = f"Invalid '{path}'" if path else "Invalid request"
    return ApiError(f"{where}: {what[:1].lower()}{what[1:]}.", param=path or None, code="invalid_value")
