"""Requests in the form of OpenAI's API: checked, and made what a TextProcessor understands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from dynamo_nb.llm.api.bodies import (
    MAX_CHOICES,
    ChatBody,
    CompletionBody,
    EmbeddingBody,
    Generation,
    ResponseFormat,
    Texts,
)
from dynamo_nb.llm.api.errors import ApiError
from dynamo_nb.llm.messages import ModelInfo, Sampling, TextRequest

MAX_INPUTS: Final = 2048  # OpenAI's bound of the texts in one request for embeddings
MAX_DEPTH: Final = 64  # of lists and objects in each other: templates, and encoders, go through them by recursion
ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
REPLACED: Final = {"functions": "; use 'tools'", "function_call": "; use 'tool_choice'"}


def requests_of(body: ChatBody | CompletionBody, request_id: str, model: str, info: ModelInfo) -> list[TextRequest]:
    """One request for each choice: prompts in order, for each of them `n`, with seeds that count up.

    model: the name that the processor knows it by. Raises ApiError for what the model cannot do.
    """
    if isinstance(body, ChatBody) and len(body.messages) > info.context:
        raise ApiError(
            f"{len(body.messages)} messages have more tokens than the model's context length, {info.context}.",
            param="messages",
            code="context_length_exceeded",
        )
    _check_depth(body)
    _check(body, info)
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] = []
    prompts: list[str | list[int]] = [""]
    if isinstance(body, ChatBody):
        _check_chat(body)
        messages, tools = body.messages, (body.tools or []) if body.tool_choice != "none" else []
    else:
        _refuse_parts(body)
        prompts = texts(body.prompt, "prompt")
    number = body.n or 1
    if len(prompts) * number > MAX_CHOICES:
        asked = f"{len(prompts)} prompts of n={number} are {len(prompts) * number} choices"
        raise ApiError(f"{asked}; one request may have {MAX_CHOICES}.", param="n")
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    samplings = [_sampling(body, copy) for copy in range(number)]
    return [
        TextRequest(
            request_id=f"{request_id}-{at * number + copy}",
            model=model,
            messages=messages,
            prompt=prompt,
            tools=tools,
            sampling=sampling,
            stop=stop,
            salt=body.cache_salt or "",
            parallel_tool_calls=getattr(body, "parallel_tool_calls", None) is not False,
        )
        for at, prompt in enumerate(prompts)
        for copy, sampling in enumerate(samplings)
    ]


def _sampling(body: ChatBody | CompletionBody, copy: int) -> Sampling:
    def given(value: float | None, default: float) -> Any:
        return default if value is None else value

    seed = body.seed
    return Sampling(
        max_tokens=body.limit,
        min_tokens=body.min_tokens or 0,
        temperature=given(body.temperature, 1.0),
        top_p=given(body.top_p, 1.0),
        top_k=max(body.top_k or 0, 0),  # vLLM's -1 is all, too
        min_p=given(body.min_p, 0.0),
        presence_penalty=given(body.presence_penalty, 0.0),
        frequency_penalty=given(body.frequency_penalty, 0.0),
        repetition_penalty=given(body.repetition_penalty, 1.0),
        seed=None if seed is None else min(seed + copy, 2**63 - 1),
        stop_tokens=tuple(body.stop_token_ids or ()),
        ignore_eos=bool(body.ignore_eos),
        logprobs=body.likeliest,
        json_schema=_schema(body.response_format),
    )


def _schema(form: ResponseFormat | None) -> str:
    if form is None or form.type == "text":
        return ""
    if form.type == "json_object":
        return '{"type":"object"}'
    schema = (form.json_schema or {}).get("schema")
    if not isinstance(schema, dict):
        path = "response_format.json_schema.schema"
        raise ApiError(f"Missing required parameter: '{path}', a JSON schema.", param=path)
    return msgspec.json.encode(schema).decode()


def _check(body: Generation, info: ModelInfo) -> None:
    if body.limit > info.context:
        name = "max_completion_tokens" if getattr(body, "max_completion_tokens", None) else "max_tokens"
        raise ApiError(
            f"{name} is too large: {body.limit}. The model's context length is {info.context} tokens, "
            "for prompt and answer together.",
            param=name,
            code="context_length_exceeded",
        )
    if body.limit and (body.min_tokens or 0) > body.limit:
        raise ApiError(f"min_tokens is {body.min_tokens}, more than max_tokens, {body.limit}.", param="min_tokens")
    if body.stream_options is not None and not body.stream:
        raise ApiError("'stream_options' is for requests with stream=true.", param="stream_options")
    if body.logit_bias:
        raise ApiError("'logit_bias' is not supported.", param="logit_bias", code="unsupported_parameter")
    if body.likeliest is not None:
        _need("logprobs", info, "logprobs", "log probabilities")
    if body.response_format is not None and body.response_format.type != "text":
        _need("json_schema", info, "response_format", "answers that follow a schema; only type 'text' is")


def _check_depth(body: ChatBody | CompletionBody) -> None:
    """Of the parameters that may hold anything, and are given on."""
    form = body.response_format
    given: dict[str, Any] = {"response_format": None if form is None else form.json_schema}
    if isinstance(body, ChatBody):
        given |= {"messages": body.messages, "tools": body.tools}
    for name, value in given.items():
        level, depth = [value], 0
        while level := [part for whole in level for part in _parts(whole)]:
            depth += 1
            if depth > MAX_DEPTH:
                raise ApiError(
                    f"'{name}' is nested too deeply: {MAX_DEPTH} levels are taken.", param=name, code="invalid_value"
                )


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _need(feature: str, info: ModelInfo, param: str, what: str) -> None:
    if feature not in info.features:
        message = f"The engine of this model does not support {what}."
        raise ApiError(message, param=param, code="unsupported_parameter")


def _check_chat(body: ChatBody) -> None:
    for number, message in enumerate(body.messages):
        _check_message(message, f"messages[{number}]")
    if body.top_logprobs is not None and not body.logprobs:
        raise ApiError("'top_logprobs' needs logprobs=true.", param="top_logprobs")
    for number, tool in enumerate(body.tools or ()):
        function = tool.get("function")
        if (
            tool.get("type") != "function"
            or not isinstance(function, dict)
            or not isinstance(function.get("name"), str)
        ):
            param = f"tools[{number}]"
            raise ApiError(f"Invalid '{param}': expected {{type: 'function', function: {{name, …}}}}.", param=param)
    if body.tool_choice is not None and body.tool_choice not in ("none", "auto"):
        wrong = "'tool_choice' can be 'none' or 'auto': no engine here can be made to call a tool."
        raise ApiError(wrong, param="tool_choice", code="unsupported_parameter")
    if body.modalities is not None and body.modalities != ["text"]:
        raise ApiError("'modalities' can be ['text'] only.", param="modalities", code="unsupported_parameter")
    for name in ("functions", "function_call", "audio", "web_search_options"):
        if getattr(body, name) is not None:
            wrong = f"'{name}' is not supported{REPLACED.get(name, '')}."
            raise ApiError(wrong, param=name, code="unsupported_parameter")


def _check_message(message: dict[str, Any], path: str) -> None:
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise ApiError(f"Invalid '{path}.role': {role!r}; known are {', '.join(ROLES)}.", param=f"{path}.role")
    if isinstance(content, list):
        for number, part in enumerate(content):
            where = f"{path}.content[{number}]"
            if not isinstance(part, dict) or not isinstance(part.get("text"), str) or part.get("type") != "text":
                raise ApiError(f"Invalid '{where}': only parts {{type: 'text', text}} are supported.", param=where)
    elif content is None:
        if role != "assistant":
            raise ApiError(f"Missing required parameter: '{path}.content'.", param=f"{path}.content")
    elif not isinstance(content, str):
        raise ApiError(f"Invalid '{path}.content': expected a text or a list of parts.", param=f"{path}.content")


def _refuse_parts(body: CompletionBody) -> None:
    refused = {"echo": body.echo, "suffix": body.suffix, "best_of": (body.best_of or 1) > (body.n or 1)}
    for name, value in refused.items():
        if value:
            raise ApiError(f"'{name}' is not supported.", param=name, code="unsupported_parameter")


def texts(given: Texts, param: str) -> list[str | list[int]]:
    """The single texts, each a text or tokens. Raises ApiError for a mixture."""
    if isinstance(given, str):
        return [given]
    kinds = {type(item) for item in given}
    if kinds == {int}:
        return [given]  # type: ignore[list-item]
    if kinds == {str} or (kinds == {list} and all(given)):
        return given  # type: ignore[return-value]
    raise ApiError(f"Invalid '{param}': expected a text, tokens, or a list of one of them, none empty.", param=param)


def inputs_of(body: EmbeddingBody, request_id: str, model: str, info: ModelInfo) -> list[TextRequest]:
    """One request for each text to embed. Raises ApiError for what the model cannot do."""
    _need("embeddings", info, "model", "embeddings")
    if body.dimensions is not None:
        raise ApiError("'dimensions' is not supported.", param="dimensions", code="unsupported_parameter")
    inputs = texts(body.input, "input")
    if len(inputs) > MAX_INPUTS:
        raise ApiError(f"Invalid 'input': {len(inputs)} texts; one request may have {MAX_INPUTS}.", param="input")
    return [TextRequest(request_id=f"{request_id}-{n}", model=model, prompt=text) for n, text in enumerate(inputs)]
