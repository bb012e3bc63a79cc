"""Checks OpenAI request bodies and converts each to TextRequests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.llm.api.bodies import (
    MAX_CHOICES,
    ChatBody,
    CompletionBody,
    EmbeddingBody,
    Generation,
    StreamOptions,
    StructuredOutputs,
    Texts,
)
from dynamo_nb.llm.api.errors import ApiError, api_error
from dynamo_nb.llm.api.tool_choice import ToolChoice, tool_choice_of
from dynamo_nb.llm.features import DESCRIPTIONS, missing_feature
from dynamo_nb.llm.messages import ModelInfo, Sampling, Structure, TextRequest
from dynamo_nb.llm.text.chats import read_messages

MAX_INPUTS: Final = 2048  # OpenAI's limit of texts in one request for embeddings
MAX_DEPTH: Final = 64  # levels of nested lists and objects, which templates and encoders process recursively
ANY_OBJECT: Final = Structure("json_schema", '{"type":"object"}')


def requests_of(body: ChatBody | CompletionBody, request_id: str, model: str, info: ModelInfo) -> list[TextRequest]:
    """Returns one request for each sequence: all of a prompt in order, with increasing seeds.

    Args:
        body: The request.
        request_id: The beginning of the ids of the requests.
        model: The name of the model in the processor.
        info: The model.

    Raises:
        ApiError: The model cannot serve the request.
    """
    if isinstance(body, ChatBody) and len(body.messages) > info.context:
        raise ApiError(
            f"{len(body.messages)} messages are too long: the model's context length is {info.context} tokens.",
            param="messages",
            code="context_length_exceeded",
        )
    _check_depth(body)
    _check(body, info)
    messages: list[dict[str, Any]] | None = None
    choice = ToolChoice([])
    variables: dict[str, Any] = {}
    prompts: list[str | list[int]] = [""]
    echo = prompt_only = False
    if isinstance(body, ChatBody):
        _check_chat(body)
        messages, choice = body.messages, tool_choice_of(body.tool_choice, body.tools or [])
        variables = body.template_variables
    else:
        _check_completion(body)
        prompts = texts(body.prompt, "prompt")
        echo, prompt_only = bool(body.echo), body.max_tokens == 0
    n = body.candidates
    if len(prompts) * n > MAX_CHOICES:
        choices = f"{len(prompts)} prompts with {n} choices are {len(prompts) * n} choices"
        raise ApiError(f"{choices}; the limit is {MAX_CHOICES}.", param="n")
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    samplings = [_sampling(body, copy) for copy in range(n)]
    _check_features(body, samplings[0], info)
    if choice.forced:
        _check_forced(body, info)
    return [
        TextRequest(
            request_id=f"{request_id}-{index * n + copy}",
            model=model,
            messages=messages,
            prompt=prompt,
            tools=choice.tools,
            forced_tools=choice.forced,
            sampling=sampling,
            stop=stop,
            salt=body.cache_salt or "",
            echo=echo,
            prompt_only=prompt_only,
            prompt_logprobs=body.prompt_logprobs is not None,
            parallel_tool_calls=getattr(body, "parallel_tool_calls", None) is not False and not choice.is_named,
            chat_template_kwargs=variables,
        )
        for index, prompt in enumerate(prompts)
        for copy, sampling in enumerate(samplings)
    ]


def _sampling(body: ChatBody | CompletionBody, copy: int) -> Sampling:
    seed = body.seed
    return Sampling(
        max_tokens=body.limit,
        min_tokens=body.min_tokens or 0,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=None if body.top_k is None else max(body.top_k, 0),  # -1 means all to vLLM
        min_p=body.min_p,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        repetition_penalty=body.repetition_penalty,
        seed=None if seed is None else min(seed + copy, 2**63 - 1),
        stop_tokens=tuple(body.stop_token_ids or ()),
        ignore_eos=bool(body.ignore_eos),
        logprobs=0 if body.top_logprob_count is None and body.candidates > (body.n or 1) else body.top_logprob_count,
        prompt_logprobs=_prompt_logprobs(body),
        logit_bias=_biases(body.logit_bias or {}),
        structure=_structure(body),
    )


def _prompt_logprobs(body: ChatBody | CompletionBody) -> int | None:
    if body.prompt_logprobs is None and isinstance(body, CompletionBody) and body.echo:
        return body.logprobs
    return body.prompt_logprobs


def _biases(given: Mapping[str, float]) -> dict[int, float]:
    if wrong := [token for token in given if not (token.isascii() and token.isdigit())]:
        raise ApiError(f"Invalid 'logit_bias': {wrong[0]!r} is not the id of a token.", param="logit_bias")
    return {int(token): bias for token, bias in given.items()}


def _structure(body: Generation) -> Structure | None:
    """The form of the answer that the request asks for."""
    form, outputs = body.response_format, body.structured_outputs
    if form is not None and form.type != "text":
        if outputs is not None:
            raise ApiError("'structured_outputs' and 'response_format' exclude each other.", param="structured_outputs")
        if form.type == "json_object":
            return ANY_OBJECT
        schema = (form.json_schema or {}).get("schema")
        if not isinstance(schema, dict):
            path = "response_format.json_schema.schema"
            raise ApiError(f"Missing required parameter: '{path}', a JSON schema.", param=path)
        return Structure("json_schema", msgspec.json.encode(schema).decode())
    if outputs is None:
        return None
    given = {name: value for name, value in msgspec.structs.asdict(outputs).items() if value not in (None, False)}
    if len(given) != 1:
        names = ", ".join(StructuredOutputs.__struct_fields__)
        raise ApiError(f"'structured_outputs' needs exactly one of {names}.", param="structured_outputs")
    ((kind, value),) = given.items()
    if kind == "json_object":
        return ANY_OBJECT
    if kind == "json":
        return Structure("json_schema", value if isinstance(value, str) else msgspec.json.encode(value).decode())
    return Structure(kind, tuple(value) if kind == "choice" else value)


def _check(body: Generation, info: ModelInfo) -> None:
    if body.limit > info.context:
        name = "max_completion_tokens" if getattr(body, "max_completion_tokens", None) else "max_tokens"
        raise ApiError(
            f"{name} is too large: {body.limit}. The model's context length is {info.context} tokens for prompt and "
            "answer together.",
            param=name,
            code="context_length_exceeded",
        )
    if body.limit and (body.min_tokens or 0) > body.limit:
        raise ApiError(f"min_tokens is {body.min_tokens}, but max_tokens is {body.limit}.", param="min_tokens")
    if body.prompt_logprobs is not None and body.stream:
        raise ApiError("'prompt_logprobs' requires stream=false.", param="prompt_logprobs")
    if body.stream_options not in (None, StreamOptions()) and not body.stream:
        raise ApiError("'stream_options' requires stream=true.", param="stream_options")


def _check_depth(body: ChatBody | CompletionBody) -> None:
    """Checks the nesting of parameters that are passed on without a schema."""
    form = body.response_format
    outputs = body.structured_outputs
    values: dict[str, Any] = {
        "response_format": None if form is None else form.json_schema,
        "structured_outputs": None if outputs is None else outputs.json,
    }
    if isinstance(body, ChatBody):
        values |= {"messages": body.messages, "tools": body.tools, "chat_template_kwargs": body.template_variables}
    for name, value in values.items():
        level, depth = [value], 0
        while level := [part for whole in level for part in _parts(whole)]:
            depth += 1
            if depth > MAX_DEPTH:
                raise ApiError(
                    f"'{name}' is nested too deeply; the limit is {MAX_DEPTH} levels.", param=name, code="invalid_value"
                )


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _check_features(body: Generation, sampling: Sampling, info: ModelInfo) -> None:
    missing = missing_feature(sampling, info.features)
    if not missing:
        return
    if missing == "logprobs" and body.top_logprob_count is None:
        raise _unsupported("a 'best_of' greater than 'n'", "best_of")
    param = "echo" if missing == "prompt_logprobs" and body.prompt_logprobs is None else missing
    if sampling.structure is not None and missing == sampling.structure.kind:
        param = "structured_outputs" if body.structured_outputs is not None else "response_format"
    raise _unsupported(DESCRIPTIONS[missing], param)


def _check_forced(body: Generation, info: ModelInfo) -> None:
    """Checks a request whose answer must call a tool."""
    if "structural_tag" not in info.features:
        raise _unsupported("forced calls of tools", "tool_choice")
    if _structure(body) is not None:
        raise ApiError("An answer that must call a tool can have no other form.", param="tool_choice")


def _unsupported(what: str, param: str) -> ApiError:
    message = f"The engine of this model does not support {what}."
    return ApiError(message, param=param, code="unsupported_parameter")


def _check_chat(body: ChatBody) -> None:
    try:
        read_messages(body.messages)
    except InvalidArgument as error:
        raise api_error(error) from None
    if body.top_logprobs and not body.logprobs:
        raise ApiError("'top_logprobs' requires logprobs=true.", param="top_logprobs")
    for number, tool in enumerate(body.tools or ()):
        function = tool.get("function")
        if (
            tool.get("type") != "function"
            or not isinstance(function, dict)
            or not isinstance(function.get("name"), str)
        ):
            param = f"tools[{number}]"
            raise ApiError(f"Invalid '{param}': expected {{type: 'function', function: {{name, …}}}}.", param=param)


def _check_completion(body: CompletionBody) -> None:
    if body.max_tokens == 0 and not body.echo:
        text = "Invalid 'max_tokens': expected `int` >= 1, or 0 with echo=true."
        raise ApiError(text, param="max_tokens", code="invalid_value")
    if body.candidates < (body.n or 1):
        raise ApiError(f"best_of is {body.best_of}, but n is {body.n}.", param="best_of")
    if body.candidates > (body.n or 1) and body.stream:
        raise ApiError("A 'best_of' greater than 'n' requires stream=false.", param="best_of")


def texts(given: Texts, param: str) -> list[str | list[int]]:
    """Returns the prompts of a parameter, each a text or a list of tokens.

    Args:
        given: A text, a list of tokens, or a list of either.
        param: The name of the parameter.

    Raises:
        ApiError: The list is mixed, or a list of tokens is empty.
    """
    if isinstance(given, str):
        return [given]
    kinds = {type(item) for item in given}
    if kinds == {int}:
        return [given]  # type: ignore[list-item]
    if kinds == {str} or (kinds == {list} and all(given)):
        return given  # type: ignore[return-value]
    raise ApiError(
        f"Invalid '{param}': expected a text, a list of tokens, or a list of either; a list must not be empty.",
        param=param,
    )


def inputs_of(body: EmbeddingBody, request_id: str, model: str, info: ModelInfo) -> list[TextRequest]:
    """Returns one request for each text to embed.

    Args:
        body: The request.
        request_id: The beginning of the ids of the requests.
        model: The name of the model in the processor.
        info: The model.

    Raises:
        ApiError: The model cannot serve the request.
    """
    if "embeddings" not in info.features:
        raise _unsupported("embeddings", "model")
    inputs = texts(body.input, "input")
    if len(inputs) > MAX_INPUTS:
        raise ApiError(f"Invalid 'input': {len(inputs)} texts; the limit is {MAX_INPUTS}.", param="input")
    return [TextRequest(request_id=f"{request_id}-{n}", model=model, prompt=text) for n, text in enumerate(inputs)]
