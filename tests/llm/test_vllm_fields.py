"""Every field of vLLM's own requests, at its default and at another value: our status is vLLM's, or has a reason."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

import pytest

pytest.importorskip("vllm")

import pytest_asyncio
from local_graph import client_of
from vllm_engines import started
from vllm_fields import CHAT, COMPLETION, LEAST, ONLY, REASONS, cases, fields_of
from vllm_server import vllm_client

from dynamo_nb.llm.api.fields import DEFAULTS

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # vLLM and torch emit many warnings
]


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


async def test_the_best_of_several_answers_is_the_most_likely_one(clients):
    given = LEAST[COMPLETION] | {"seed": 1, "max_tokens": 6, "logprobs": 0}
    several = (await clients[0].post(f"/v1/{COMPLETION}", json=given | {"n": 4})).json()
    best = (await clients[0].post(f"/v1/{COMPLETION}", json=given | {"best_of": 4})).json()

    def mean(choice):
        return sum(choice["logprobs"]["token_logprobs"]) / len(choice["logprobs"]["token_logprobs"])

    (choice,) = best["choices"]
    assert choice["text"] == max(several["choices"], key=mean)["text"]
    assert best["usage"]["completion_tokens"] == several["usage"]["completion_tokens"]
