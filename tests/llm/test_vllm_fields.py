"""Every field of vLLM's own requests, at its default and at another value: our status is vLLM's, or has a reason."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

import pytest

pytest.importorskip("vllm")

import pytest_asyncio
from local_graph import client_of
from vllm_engines import started
from vllm_server import vllm_client

from dynamo_nb.llm.api.fields import DEFAULTS

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # vLLM and torch emit many warnings
]

CHAT, COMPLETION = "chat/completions", "completions"
LEAST = {
    CHAT: {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4},
    COMPLETION: {"model": "tiny", "prompt": "hello", "max_tokens": 4},
}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
NAMED = {"type": "function", "function": {"name": "f"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}
# Field -> bodies with another value than the default.
OTHER = {
    "model": [{"model": "tiny"}, {"model": "huge"}],
    "messages": [{"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]}, {"messages": 1}],
    "prompt": [{"prompt": ["a", "b"]}, {"prompt": [5, 6]}, {"prompt": {}}],
    "frequency_penalty": [{"frequency_penalty": 0.5}, {"frequency_penalty": 3}],
    "presence_penalty": [{"presence_penalty": 0.5}, {"presence_penalty": 3}],
    "logit_bias": [{"logit_bias": {"5": 1.5}}, {"logit_bias": {"5": 500}}, {"logit_bias": {"x": 1}}],
    "logprobs": [{"logprobs": 1}, {"logprobs": True}, {"logprobs": "x"}],
    "top_logprobs": [{"logprobs": True, "top_logprobs": 2}, {"top_logprobs": 2}],
    "max_tokens": [{"max_tokens": 3}, {"max_tokens": 0}, {"max_tokens": 10**6}],
    "max_completion_tokens": [{"max_completion_tokens": 3}, {"max_completion_tokens": 0}],
    "n": [{"n": 2}, {"n": 0}],
    "response_format": [
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "x"}},
    ],
    "seed": [{"seed": 3}, {"seed": 2**64}],
    "stop": [{"stop": ["x"]}, {"stop": "x"}, {"stop": 1}],
    "stream": [{"stream": True}],
    "stream_options": [
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
        {"stream_options": {"include_usage": True}},
        {"stream_options": {}},
    ],
    "suffix": [{"suffix": "x"}],
    "temperature": [{"temperature": 0.5}, {"temperature": -1}],
    "top_p": [{"top_p": 0.5}, {"top_p": 2}],
    "tools": [{"tools": [TOOL]}, {"tools": []}, {"tools": [{}]}],
    "tool_choice": [
        {"tools": [TOOL], "tool_choice": "auto"},
        {"tools": [TOOL], "tool_choice": "x"},
        {"tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": NAMED},
        {"tools": [TOOL], "tool_choice": NAMED | {"function": {"name": "g"}}},
        {"tools": [TOOL], "tool_choice": NAMED | {"function": {}}},
        {"tools": [TOOL], "tool_choice": NAMED, "structured_outputs": {"regex": "a"}},
        {"tools": [TOOL], "tool_choice": ALLOWED},
    ],
    "reasoning_effort": [{"reasoning_effort": "low"}],
    "thinking_token_budget": [{"thinking_token_budget": 5}],
    "include_reasoning": [{"include_reasoning": False}],
    "parallel_tool_calls": [{"parallel_tool_calls": False}],
    "user": [{"user": "u"}],
    "use_beam_search": [{"use_beam_search": True}],
    "top_k": [{"top_k": 3}, {"top_k": -5}],
    "min_p": [{"min_p": 0.1}, {"min_p": 2}],
    "repetition_penalty": [{"repetition_penalty": 1.1}, {"repetition_penalty": 0}],
    "watermarking": [{"watermarking": True}],
    "length_penalty": [{"length_penalty": 0.5}],
    "stop_token_ids": [{"stop_token_ids": [5]}, {"stop_token_ids": 5}],
    "include_stop_str_in_output": [{"include_stop_str_in_output": True}],
    "ignore_eos": [{"ignore_eos": True}],
    "min_tokens": [{"min_tokens": 2}, {"min_tokens": 9}],
    "skip_special_tokens": [{"skip_special_tokens": False}],
    "spaces_between_special_tokens": [{"spaces_between_special_tokens": False}],
    "truncate_prompt_tokens": [{"truncate_prompt_tokens": 3}],
    "truncation_side": [{"truncation_side": "left"}],
    "prompt_logprobs": [
        {"prompt_logprobs": 1},
        {"prompt_logprobs": 0},
        {"prompt_logprobs": -1},
        {"prompt_logprobs": -2},
        {"prompt_logprobs": 21},
        {"prompt_logprobs": 1, "stream": True},
        {"prompt_logprobs": "x"},
    ],
    "logprob_token_ids": [{"logprobs": 1, "logprob_token_ids": [5]}, {"logprobs": True, "logprob_token_ids": [5]}],
    "allowed_token_ids": [{"allowed_token_ids": [5]}, {"allowed_token_ids": []}],
    "bad_words": [{"bad_words": ["x"]}],
    "prompt_embeds": [{"prompt_embeds": "AAAA"}],
    "echo": [
        {"echo": True},
        {"echo": True, "logprobs": 1},
        {"echo": True, "max_tokens": 0},
        {"echo": True, "max_tokens": 0, "logprobs": 1},
        {"echo": True, "stream": True, "logprobs": 1},
        {"echo": "x"},
    ],
    "add_generation_prompt": [{"add_generation_prompt": False}],
    "continue_final_message": [{"continue_final_message": True, "add_generation_prompt": False}],
    "add_special_tokens": [{"add_special_tokens": True}, {"add_special_tokens": False}],
    "documents": [{"documents": [{"title": "t", "text": "x"}]}],
    "chat_template": [{"chat_template": "x"}],
    "chat_template_kwargs": [{"chat_template_kwargs": {"enable_thinking": False}}],
    "media_io_kwargs": [{"media_io_kwargs": {"image": {"a": 1}}}],
    "mm_processor_kwargs": [{"mm_processor_kwargs": {"a": 1}}],
    "structured_outputs": [
        {"structured_outputs": {"choice": ["a", "b"]}},
        {"structured_outputs": {"choice": []}},
        {"structured_outputs": {"json": {"type": "object"}}},
        {"structured_outputs": {"json": '{"type": "object"}'}},
        {"structured_outputs": {"json": {"type": 7}}},
        {"structured_outputs": {"json_object": True}},
        {"structured_outputs": {"regex": "a+"}},
        {"structured_outputs": {"regex": "("}},
        {"structured_outputs": {"grammar": 'root ::= "a"'}},
        {"structured_outputs": {"grammar": "root ::= "}},
        {"structured_outputs": {"structural_tag": '{"type": "structural_tag", "format": {"type": "any_text"}}'}},
        {"structured_outputs": {"structural_tag": "{}"}},
        {"structured_outputs": {"structural_tag": ""}},
        {"structured_outputs": {"regex": "a", "choice": ["a"]}},
        {"structured_outputs": {"regex": "a"}, "response_format": {"type": "text"}},
        {"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}},
        {"structured_outputs": {}},
    ],
    "priority": [{"priority": 1}],
    "request_id": [{"request_id": "r"}],
    "session_id": [{"session_id": "s"}],
    "return_tokens_as_token_ids": [{"return_tokens_as_token_ids": True}],
    "return_token_ids": [{"return_token_ids": True}],
    "routed_experts_prompt_start": [{"routed_experts_prompt_start": 1}],
    "return_token_offsets": [{"return_token_offsets": True}],
    "return_prompt_text": [{"return_prompt_text": True}],
    "mm_payload": [{"mm_payload": "none"}],
    "return_mm_kwargs": [{"return_mm_kwargs": False}],
    "cache_salt": [{"cache_salt": "s"}, {"cache_salt": ""}, {"cache_salt": "a/b"}, {"cache_salt": "x" * 129}],
    "kv_transfer_params": [{"kv_transfer_params": {"a": 1}}],
    "ec_transfer_params": [{"ec_transfer_params": {"a": 1}}],
    "vllm_xargs": [{"vllm_xargs": {"a": 1}}],
    "repetition_detection": [{"repetition_detection": {"max_pattern_size": 2, "min_count": 2}}],
    "stream_interval": [{"stream_interval": 3}],
}
# Test -> why the status is another one, beside the fields of `fields.DEFAULTS`, which are not supported.
REASONS = {
    f"{CHAT} tool_choice 8": "OpenAI has this form, vLLM has it not",
    f"{CHAT} tools 1": "an empty list means no tools",
    f"{CHAT} logprobs 0": "a number is not a boolean",
    f"{COMPLETION} logprobs 1": "a boolean is not a number",
    **{f"{path} structured_outputs 9": "vLLM's server fails with a 500" for path in (CHAT, COMPLETION)},
    **{f"{path} logit_bias 1": "more than OpenAI's limit, which vLLM cuts" for path in (CHAT, COMPLETION)},
}


ONLY = {
    CHAT: [
        *("messages", "max_completion_tokens", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls"),
        *("chat_template", "chat_template_kwargs", "add_generation_prompt", "continue_final_message", "documents"),
        *("reasoning_effort", "include_reasoning", "media_io_kwargs", "mm_processor_kwargs", "return_prompt_text"),
    ],
    COMPLETION: ["prompt", "prompt_embeds", "suffix"],
}
REQUIRED = ("model", "messages", "prompt")


def fields_of(path):
    return [name for name in OTHER if not any(name in ONLY[kind] for kind in ONLY if kind != path)]


def cases():
    for path in ONLY:
        for name in fields_of(path):
            for number, body in enumerate(OTHER[name]):
                yield pytest.param(path, name, body, id=f"{path} {name} {number}")
            if name not in REQUIRED:
                yield pytest.param(path, name, None, id=f"{path} {name} default")


def requests():
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest

    return {CHAT: ChatCompletionRequest.model_fields, COMPLETION: CompletionRequest.model_fields}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients():
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(started())
        options = ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
        ours = await stack.enter_async_context(client_of(engine, tool_call_parser="hermes"))
        yield ours, await stack.enter_async_context(vllm_client(engine, *options))


async def test_the_table_has_every_field_of_vllms_requests():
    assert {path: set(fields) for path, fields in requests().items()} == {path: set(fields_of(path)) for path in ONLY}


@pytest.mark.parametrize(("path", "name", "given"), [*cases()])
async def test_a_field_has_the_status_that_it_has_with_vllm(request, clients, path, name, given):
    is_default = given is None
    if is_default:
        given = {name: requests()[path][name].get_default(call_default_factory=True)}
    ours, theirs = [await client.post(f"/v1/{path}", json=LEAST[path] | given) for client in clients]

    statuses, texts = (ours.status_code, theirs.status_code), f"ours: {ours.text}\nvLLM: {theirs.text}"
    if request.node.callspec.id in REASONS:
        assert statuses in {(200, 400), (400, 200), (400, 500)}, texts
    elif name in DEFAULTS and not is_default and statuses == (400, 200):
        assert (ours.json()["error"]["param"], ours.json()["error"]["code"]) == (name, "unsupported_parameter")
    else:
        assert ours.status_code == theirs.status_code, texts


ANSWERS = {
    "logit_bias": {"logit_bias": {"81": 100, "84": 100}, "temperature": 1, "seed": 1, "max_tokens": 6},
    "a bias against the most likely": {
        "logit_bias": {str(token): -100 for token in range(0, 512, 2)},
        "max_tokens": 20,
    },
    "a choice": {"structured_outputs": {"choice": ["Paris", "Lima"]}, "max_tokens": 30},
    "a regex": {"structured_outputs": {"regex": "[ab]{3}c"}, "max_tokens": 30},
    "a grammar": {"structured_outputs": {"grammar": 'root ::= ("yes" | "no") "!"'}, "max_tokens": 30},
    "a schema": {"structured_outputs": {"json": {"enum": ["hot", "cold"]}}, "max_tokens": 30},
}


@pytest.mark.parametrize("path", ONLY)
@pytest.mark.parametrize("fields", ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_is_that_of_vllm(clients, path, fields):
    bodies = [
        (await client.post(f"/v1/{path}", json=LEAST[path] | {"temperature": 0} | fields)).json() for client in clients
    ]
    ours, theirs = [answer_of(body["choices"][0]) for body in bodies]

    assert ours == theirs
    assert bodies[0]["usage"]["prompt_tokens"] == bodies[1]["usage"]["prompt_tokens"]


def answer_of(choice):
    """Text, finish and log probabilities of a choice; the text without a character that was never completed."""
    text = choice["text"] if "text" in choice else choice["message"]["content"]
    return text.rstrip("\ufffd"), choice["finish_reason"], choice["logprobs"]


ECHOES = {
    "a text": {},
    "a text alone": {"max_tokens": 0},
    "with log probabilities": {"logprobs": 2},
    "with log probabilities, alone": {"logprobs": 2, "max_tokens": 0},
    "without likely tokens": {"logprobs": 0, "max_tokens": 0},
    "with more of the prompt": {"logprobs": 1, "prompt_logprobs": 3},
    "tokens": {"prompt": [267, 81, 0, 84], "logprobs": 2},
    "several prompts": {"prompt": ["one", "two three"], "logprobs": 1},
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fields", ECHOES.values(), ids=ECHOES)
async def test_an_echo_is_that_of_vllm(clients, fields, stream):
    if stream and "prompt_logprobs" in fields:
        fields = {name: value for name, value in fields.items() if name != "prompt_logprobs"}
    given = LEAST[COMPLETION] | {"temperature": 0, "echo": True, "stream": stream} | fields
    answers = [await client.post(f"/v1/{COMPLETION}", json=given) for client in clients]
    ours, theirs = [completions_of(answer, stream) for answer in answers]

    for one, other in zip(ours, theirs, strict=True):
        assert one["text"].rstrip("\ufffd") == other["text"].rstrip("\ufffd")
        assert one["finish_reason"] == other["finish_reason"]
        assert logprobs_of(one) == logprobs_of(other)


def completions_of(answer, stream):
    if not stream:
        return answer.json()["choices"]
    found = {}
    for line in answer.text.split("\n\n"):
        if line.startswith("data: {"):
            (choice,) = json.loads(line.removeprefix("data: "))["choices"]
            whole = found.setdefault(choice["index"], {"text": "", "finish_reason": None, "logprobs": None})
            whole["text"] += choice["text"]
            whole["finish_reason"] = choice["finish_reason"] or whole["finish_reason"]
            if choice["logprobs"]:
                whole["logprobs"] = whole["logprobs"] or {"token_logprobs": [], "top_logprobs": []}
                for name in whole["logprobs"]:
                    whole["logprobs"][name] += choice["logprobs"][name]
    return [found[index] for index in sorted(found)]


def logprobs_of(choice):
    """The log probabilities without the texts of tokens, of which some are parts of characters."""
    if choice["logprobs"] is None:
        return None
    top = [one and sorted(round(value, 3) for value in one.values()) for one in choice["logprobs"]["top_logprobs"]]
    return [value and round(value, 3) for value in choice["logprobs"]["token_logprobs"]], top


@pytest.mark.parametrize("path", ONLY)
@pytest.mark.parametrize("most", [0, 2])
async def test_the_log_probabilities_of_a_prompt_are_those_of_vllm(clients, path, most):
    given = LEAST[path] | {"prompt_logprobs": most, "temperature": 0}
    bodies = [(await client.post(f"/v1/{path}", json=given)).json() for client in clients]
    ours, theirs = [(body if path == CHAT else body["choices"][0])["prompt_logprobs"] for body in bodies]

    assert ours[0] is theirs[0] is None
    assert len(ours) == len(theirs) == bodies[0]["usage"]["prompt_tokens"]
    for one, other in zip(ours[1:], theirs[1:], strict=True):
        assert one.keys() == other.keys()
        for token in one:
            assert one[token]["rank"] == other[token]["rank"]
            assert one[token]["logprob"] == pytest.approx(other[token]["logprob"], abs=1e-3)
            assert (
                one[token]["decoded_token"] == other[token]["decoded_token"] or "\ufffd" in one[token]["decoded_token"]
            )


def tool(name, **properties):
    schema = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": schema, "strict": True}}


TOOLS = [tool("weather", city={"enum": ["Lima", "Rome"]}), tool("time", zone={"enum": ["UTC", "CET"]})]
CALLS = {
    "required": {"tool_choice": "required", "parallel_tool_calls": False},
    "a named tool": {"tool_choice": {"type": "function", "function": {"name": "time"}}},
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fields", CALLS.values(), ids=CALLS)
async def test_a_forced_call_is_that_of_vllm(clients, fields, stream):
    given = LEAST[CHAT] | {"tools": TOOLS, "temperature": 0, "max_tokens": 140, "stream": stream} | fields
    answers = [await client.post(f"/v1/{CHAT}", json=given) for client in clients]
    ours, theirs = map(calls_of_stream if stream else calls_of, answers)

    assert ours == theirs
    assert len(ours[0]) == 1


def calls_of(answer):
    """(name, arguments) of each call, the text, and the finish."""
    choice = answer.json()["choices"][0]
    functions = [call["function"] for call in choice["message"]["tool_calls"]]
    calls = [(function["name"], json.loads(function["arguments"])) for function in functions]
    return calls, choice["message"]["content"] or "", choice["finish_reason"]


def calls_of_stream(answer):
    names, arguments, text, finish = {}, {}, "", None
    for line in answer.text.split("\n\n"):
        if not line.startswith("data: {"):
            continue
        choice = json.loads(line.removeprefix("data: "))["choices"][0]
        text, finish = text + (choice["delta"].get("content") or ""), choice["finish_reason"] or finish
        for call in choice["delta"].get("tool_calls") or ():
            function = call["function"]
            names.setdefault(call["index"], function.get("name"))
            arguments[call["index"]] = arguments.get(call["index"], "") + (function.get("arguments") or "")
    return [(names[index], json.loads(arguments[index])) for index in names], text, finish


@pytest.mark.parametrize("mode", ["auto", "required"])
async def test_allowed_tools_are_the_only_ones(clients, mode):
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "time"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    given = LEAST[CHAT] | {"tools": TOOLS, "tool_choice": choice, "max_tokens": 140, "temperature": 0}
    answer = await clients[0].post(f"/v1/{CHAT}", json=given)
    same = await clients[0].post(f"/v1/{CHAT}", json=LEAST[CHAT] | {"tools": TOOLS[1:]})

    assert answer.json()["usage"]["prompt_tokens"] == same.json()["usage"]["prompt_tokens"]
    if mode == "required":
        assert {name for name, _ in calls_of(answer)[0]} == {"time"}


async def test_an_answer_may_have_several_forced_calls(clients):
    given = LEAST[CHAT] | {"tools": TOOLS[:1], "tool_choice": "required", "max_tokens": 200, "temperature": 0}
    calls, text, finish = calls_of(await clients[0].post(f"/v1/{CHAT}", json=given))

    assert len(calls) > 1
    assert all(arguments in ({"city": "Lima"}, {"city": "Rome"}) for _, arguments in calls)
    assert finish == "length" or not text
