"""Requests and answers in the form of OpenAI's API, without HTTP."""

import json

import pytest

from dynamo_nb.errors import DeadlineExceeded, EndpointError, EngineError, InvalidArgument, NoInstances, WorkerLost
from dynamo_nb.llm.api.answers import DONE, ChatAnswer, CompletionAnswer
from dynamo_nb.llm.api.bodies import ChatBody, CompletionBody, EmbeddingBody, read
from dynamo_nb.llm.api.errors import ApiError, api_error
from dynamo_nb.llm.api.request_checks import inputs_of, requests_of
from dynamo_nb.llm.features import DESCRIPTIONS
from dynamo_nb.llm.messages import ModelInfo, Structure, TextDelta, TextLogprob, ToolCall
from dynamo_nb.llm.text.tools import ToolCalls

FULL = ModelInfo(model="m", context=100, block_size=16, features=(*DESCRIPTIONS, "embeddings"))
OBJECT = Structure("json_schema", '{"type":"object"}')
BARE = ModelInfo(model="m", context=100, block_size=16)
USER = {"role": "user", "content": "hi"}


def body_of(kind, given):
    least = {ChatBody: {"messages": [USER]}, CompletionBody: {"prompt": "p"}, EmbeddingBody: {"input": "p"}}[kind]
    return read(kind, json.dumps({"model": "m", **least, **given}).encode())


def converted(kind, given, info=FULL):
    body = body_of(kind, given)
    return (inputs_of if kind is EmbeddingBody else requests_of)(body, "id", "own", info)


def one(kind, **given):
    (request,) = converted(kind, given)
    return request


SAMPLING = [
    ({"temperature": 0}, "temperature", 0.0),
    ({"top_p": 0.5}, "top_p", 0.5),
    ({"max_tokens": 5}, "max_tokens", 5),
    ({"max_tokens": 100}, "max_tokens", 100),
    ({"min_tokens": 3}, "min_tokens", 3),
    ({"top_k": 7}, "top_k", 7),
    ({"top_k": -1}, "top_k", 0),
    ({"min_p": 0.1}, "min_p", 0.1),
    ({"repetition_penalty": 1.1}, "repetition_penalty", 1.1),
    ({"presence_penalty": -2}, "presence_penalty", -2.0),
    ({"frequency_penalty": 2}, "frequency_penalty", 2.0),
    ({"ignore_eos": True}, "ignore_eos", True),
    ({"stop_token_ids": [1, 2]}, "stop_tokens", (1, 2)),
    ({"seed": 0}, "seed", 0),
    ({"logit_bias": {"5": -1, "07": 2.5}}, "logit_bias", {5: -1.0, 7: 2.5}),
    ({"response_format": {"type": "text"}}, "structure", None),
    ({"response_format": {"type": "json_object"}}, "structure", OBJECT),
    ({"structured_outputs": {"json_object": True}}, "structure", OBJECT),
    ({"structured_outputs": {"json": {"type": "object"}}}, "structure", OBJECT),
    ({"structured_outputs": {"json": '{"type":"object"}', "regex": None}}, "structure", OBJECT),
    ({"structured_outputs": {"choice": ["a", "b"]}}, "structure", Structure("choice", ("a", "b"))),
    ({"structured_outputs": {"regex": "a+"}}, "structure", Structure("regex", "a+")),
    ({"structured_outputs": {"grammar": 'root ::= "a"'}}, "structure", Structure("grammar", 'root ::= "a"')),
    ({"structured_outputs": {"structural_tag": "{}"}}, "structure", Structure("structural_tag", "{}")),
    ({"structured_outputs": {"regex": "a"}, "response_format": {"type": "text"}}, "structure", Structure("regex", "a")),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}},
        "structure",
        Structure("json_schema", '{"type":"array"}'),
    ),
]


@pytest.mark.parametrize("kind", [ChatBody, CompletionBody])
@pytest.mark.parametrize(("given", "name", "value"), SAMPLING, ids=str)
def test_a_parameter_reaches_the_engine(kind, given, name, value):
    assert getattr(one(kind, **({"max_tokens": 50} | given)).sampling, name) == value


@pytest.mark.parametrize(
    ("kind", "given", "tokens"),
    [
        (ChatBody, {}, 0),
        (ChatBody, {"max_completion_tokens": 7, "max_tokens": 9}, 7),
        (CompletionBody, {}, 16),
    ],
    ids=str,
)
def test_the_limit_of_tokens(kind, given, tokens):
    assert one(kind, **given).sampling.max_tokens == tokens


@pytest.mark.parametrize(
    ("kind", "given", "logprobs"),
    [
        (ChatBody, {"logprobs": False}, None),
        (ChatBody, {"logprobs": True}, 0),
        (ChatBody, {"logprobs": True, "top_logprobs": 3}, 3),
        (CompletionBody, {}, None),
        (CompletionBody, {"logprobs": 0}, 0),
        (CompletionBody, {"logprobs": 2}, 2),
    ],
    ids=str,
)
def test_the_number_of_log_probabilities(kind, given, logprobs):
    assert one(kind, **given).sampling.logprobs == logprobs


ECHOES = [
    # the parameters, the limit of tokens, whether the answer has the prompt, nothing else, its log probabilities, how many
    ({}, 16, False, False, False, None),
    ({"echo": True}, 16, True, False, False, None),
    ({"echo": True, "max_tokens": 0}, 0, True, True, False, None),
    ({"echo": True, "logprobs": 2}, 16, True, False, False, 2),
    ({"echo": True, "logprobs": 2, "prompt_logprobs": 0}, 16, True, False, True, 0),
    ({"prompt_logprobs": 3, "max_tokens": 5}, 5, False, False, True, 3),
    ({"logprobs": 3}, 16, False, False, False, None),
]


@pytest.mark.parametrize(
    ("given", "limit", "echo", "alone", "asked", "most"), ECHOES, ids=[str(row[0]) for row in ECHOES]
)
def test_the_prompt_in_an_answer(given, limit, echo, alone, asked, most):
    request = one(CompletionBody, **given)

    assert (request.echo, request.prompt_only, request.prompt_logprobs) == (echo, alone, asked)
    assert (request.sampling.max_tokens, request.sampling.prompt_logprobs) == (limit, most)


def test_an_echo_with_log_probabilities_needs_an_engine_that_has_them_of_prompts():
    bare = ModelInfo(model="m", context=100, block_size=16, features=("logprobs",))
    assert converted(CompletionBody, {"echo": True}, BARE)
    with pytest.raises(ApiError, match="does not support log probabilities of prompts") as error:
        converted(CompletionBody, {"echo": True, "logprobs": 1}, bare)

    assert error.value.param == "echo"


def test_stop_is_a_text_or_a_list():
    assert one(ChatBody, stop="a").stop == ("a",)
    assert one(ChatBody, stop=["a", "b"]).stop == ("a", "b")
    assert one(ChatBody, stop=None).stop == ()


def test_requests_have_the_processors_model_name_and_unique_ids():
    requests = converted(CompletionBody, {"prompt": ["a", "b"], "n": 2, "seed": 5, "cache_salt": "s"})

    assert [request.request_id for request in requests] == ["id-0", "id-1", "id-2", "id-3"]
    assert [request.prompt for request in requests] == ["a", "a", "b", "b"]
    assert [request.sampling.seed for request in requests] == [5, 6, 5, 6]
    assert {request.model for request in requests} == {"own"}
    assert {request.salt for request in requests} == {"s"}


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [("a", ["a"]), ([1, 2], [[1, 2]]), (["a", "b"], ["a", "b"]), ([[1], [2]], [[1], [2]])],
    ids=str,
)
def test_prompts_are_texts_or_tokens(prompt, prompts):
    assert [request.prompt for request in converted(CompletionBody, {"prompt": prompt})] == prompts
    assert [request.prompt for request in converted(EmbeddingBody, {"input": prompt})] == prompts


TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


OTHER_TOOL = {"type": "function", "function": {"name": "g"}}
NAMED = {"type": "function", "function": {"name": "f"}}


def allowed(mode, *names):
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


CHOICES = [
    # tool_choice, the tools that the model sees, those of which it must call one, whether it may call several
    (None, "fg", "", True),
    ("auto", "fg", "", True),
    ("none", "", "", True),
    ("required", "fg", "fg", True),
    (NAMED, "fg", "f", False),
    (allowed("auto", "g"), "g", "", True),
    (allowed("required", "g"), "g", "g", True),
    (allowed("required", "g", "f"), "fg", "gf", True),
]


@pytest.mark.parametrize(("choice", "visible", "forced", "many"), CHOICES, ids=[str(row[0]) for row in CHOICES])
def test_a_tool_choice_says_what_the_model_sees_and_must_call(choice, visible, forced, many):
    request = one(ChatBody, tools=[TOOL, OTHER_TOOL], tool_choice=choice)

    assert [tool["function"]["name"] for tool in request.tools] == [*visible]
    assert request.forced_tools == tuple(forced)
    assert request.parallel_tool_calls is many


def test_tools_are_passed_on_unless_tool_choice_is_none():
    assert one(ChatBody, tools=[TOOL]).tools == [TOOL]
    assert one(ChatBody, tools=[TOOL], tool_choice="auto").tools == [TOOL]
    assert one(ChatBody, tools=[TOOL], tool_choice="none").tools == []


@pytest.mark.parametrize(
    "name",
    ["user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"],
)
def test_parameters_that_do_not_change_the_answer_are_ignored(name):
    assert one(ChatBody, **{name: {"any": "thing"}}) == one(ChatBody)


WRONG = [
    (ChatBody, {"messages": []}, "messages"),
    (ChatBody, {"messages": [{"role": "user"}]}, "messages[0].content"),
    (ChatBody, {"messages": [USER, {"role": "user", "content": 1}]}, "messages[1].content"),
    (ChatBody, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
    (ChatBody, {"messages": [{"role": ["x"], "content": ""}]}, "messages[0].role"),
    (ChatBody, {"temperature": "1"}, "temperature"),
    (ChatBody, {"temperature": -0.1}, "temperature"),
    (ChatBody, {"top_p": 0}, "top_p"),
    (ChatBody, {"n": 0}, "n"),
    (ChatBody, {"n": 129}, "n"),
    (ChatBody, {"stop": ""}, "stop"),
    (ChatBody, {"stop": ["a", ""]}, "stop[1]"),
    (ChatBody, {"stop": ["a"] * 17}, "stop"),
    (ChatBody, {"max_tokens": 0}, "max_tokens"),
    (ChatBody, {"max_tokens": 101}, "max_tokens"),
    (ChatBody, {"max_completion_tokens": 10**6}, "max_completion_tokens"),
    (ChatBody, {"max_tokens": 10**30}, "max_tokens"),
    (ChatBody, {"max_tokens": 2, "min_tokens": 3}, "min_tokens"),
    (ChatBody, {"seed": 2**63}, "seed"),
    (ChatBody, {"top_logprobs": 2}, "top_logprobs"),
    (ChatBody, {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    (ChatBody, {"stream_options": {"include_usage": True}}, "stream_options"),
    (ChatBody, {"stream": True, "stream_options": {"usage": True}}, "stream_options.usage"),
    (ChatBody, {"response_format": {"type": "xml"}}, "response_format.type"),
    (ChatBody, {"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
    (ChatBody, {"tools": [{"type": "function"}]}, "tools[0]"),
    (ChatBody, {"tool_choice": "required"}, "tool_choice"),
    (ChatBody, {"tools": [], "tool_choice": "required"}, "tool_choice"),
    (ChatBody, {"tools": [TOOL], "tool_choice": "any"}, "tool_choice"),
    (ChatBody, {"tools": [TOOL], "tool_choice": {"type": "auto"}}, "tool_choice"),
    (ChatBody, {"tools": [TOOL], "tool_choice": NAMED | {"function": {"name": "g"}}}, "tool_choice"),
    (ChatBody, {"tools": [TOOL], "tool_choice": NAMED | {"function": "f"}}, "tool_choice"),
    (ChatBody, {"tool_choice": NAMED}, "tool_choice"),
    (ChatBody, {"tools": [TOOL], "tool_choice": allowed("auto", "g")}, "tool_choice"),
    (ChatBody, {"tools": [TOOL], "tool_choice": allowed("auto")}, "tool_choice"),
    (ChatBody, {"tools": [TOOL], "tool_choice": allowed("auto", "f", "f")}, "tool_choice"),
    (ChatBody, {"tools": [TOOL], "tool_choice": allowed("none", "f")}, "tool_choice"),
    (ChatBody, {"tools": [TOOL], "tool_choice": "required", "response_format": {"type": "json_object"}}, "tool_choice"),
    (ChatBody, {"tools": [TOOL], "tool_choice": NAMED, "structured_outputs": {"regex": "a"}}, "tool_choice"),
    (ChatBody, {"functions": []}, "functions"),
    (ChatBody, {"modalities": ["audio"]}, "modalities"),
    (ChatBody, {"logit_bias": {"x": 2}}, "logit_bias"),
    (ChatBody, {"logit_bias": {"-1": 2}}, "logit_bias"),
    (ChatBody, {"logit_bias": {"1": 101}}, "logit_bias"),
    (ChatBody, {"structured_outputs": {}}, "structured_outputs"),
    (ChatBody, {"structured_outputs": {"json_object": False}}, "structured_outputs"),
    (ChatBody, {"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs"),
    (ChatBody, {"structured_outputs": {"choice": []}}, "structured_outputs.choice"),
    (ChatBody, {"structured_outputs": {"choices": ["a"]}}, "structured_outputs.choices"),
    (
        ChatBody,
        {"structured_outputs": {"regex": "a", "whitespace_pattern": " "}},
        "structured_outputs.whitespace_pattern",
    ),
    (
        ChatBody,
        {"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}},
        "structured_outputs",
    ),
    (ChatBody, {"prompt": "x"}, "prompt"),
    (CompletionBody, {"prompt": []}, "prompt"),
    (CompletionBody, {"prompt": [1, "a"]}, "prompt"),
    (CompletionBody, {"prompt": [[]]}, "prompt"),
    (CompletionBody, {"prompt": [-1]}, "prompt[0]"),
    (CompletionBody, {"prompt": ["a"] * 65, "n": 2}, "n"),
    (CompletionBody, {"max_tokens": 0}, "max_tokens"),
    (CompletionBody, {"max_tokens": 0, "echo": False}, "max_tokens"),
    (CompletionBody, {"max_tokens": -1, "echo": True}, "max_tokens"),
    (CompletionBody, {"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
    (CompletionBody, {"prompt_logprobs": -1}, "prompt_logprobs"),
    (CompletionBody, {"prompt_logprobs": 21}, "prompt_logprobs"),
    (ChatBody, {"echo": True}, "echo"),
    (CompletionBody, {"suffix": "x"}, "suffix"),
    (CompletionBody, {"best_of": 0}, "best_of"),
    (CompletionBody, {"best_of": 129}, "best_of"),
    (CompletionBody, {"n": 3, "best_of": 2}, "best_of"),
    (CompletionBody, {"best_of": 2, "stream": True}, "best_of"),
    (CompletionBody, {"prompt": ["a"] * 65, "best_of": 2}, "n"),
    (EmbeddingBody, {"dimensions": 3}, "dimensions"),
    (EmbeddingBody, {"encoding_format": "hex"}, "encoding_format"),
    (EmbeddingBody, {"input": ["a"] * 2049}, "input"),
]


@pytest.mark.parametrize(("kind", "given", "param"), WRONG, ids=[f"{p} {str(g)[:40]}" for _, g, p in WRONG])
def test_an_invalid_parameter_is_refused_by_name(kind, given, param):
    with pytest.raises(ApiError) as error:
        converted(kind, given)

    assert (error.value.status, error.value.param) == (400, param)


@pytest.mark.parametrize(
    ("kind", "given", "param"),
    [
        (ChatBody, {"logprobs": True}, "logprobs"),
        (CompletionBody, {"logprobs": 0}, "logprobs"),
        (ChatBody, {"response_format": {"type": "json_object"}}, "response_format"),
        (ChatBody, {"structured_outputs": {"json_object": True}}, "structured_outputs"),
        (ChatBody, {"structured_outputs": {"regex": "a"}}, "structured_outputs"),
        (ChatBody, {"structured_outputs": {"choice": ["a"]}}, "structured_outputs"),
        (ChatBody, {"structured_outputs": {"grammar": "a"}}, "structured_outputs"),
        (CompletionBody, {"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs"),
        (CompletionBody, {"logit_bias": {"1": 1}}, "logit_bias"),
        (ChatBody, {"prompt_logprobs": 0}, "prompt_logprobs"),
        (CompletionBody, {"prompt_logprobs": 2}, "prompt_logprobs"),
        (CompletionBody, {"best_of": 2}, "best_of"),
        (ChatBody, {"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        (ChatBody, {"tools": [TOOL], "tool_choice": NAMED}, "tool_choice"),
        (ChatBody, {"tools": [TOOL], "tool_choice": allowed("required", "f")}, "tool_choice"),
        (EmbeddingBody, {}, "model"),
    ],
    ids=str,
)
def test_features_that_the_engine_lacks_are_refused(kind, given, param):
    assert converted(kind, given, FULL)
    with pytest.raises(ApiError, match="does not support") as error:
        converted(kind, given, BARE)

    assert error.value.param == param


@pytest.mark.parametrize("given", [{"echo": False}, {"suffix": None}, {"best_of": 1}, {"n": 2, "best_of": 2}], ids=str)
def test_default_values_of_unsupported_parameters_are_accepted(given):
    assert converted(CompletionBody, given)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[" * 100_000, b'{"model": "\xff"}', b'{"model": "m", "messages": [{"x": ' + b"[" * 10_000],
    ids=["nothing", "half", "lists", "invalid UTF-8", "nested"],
)
def test_invalid_json_is_refused(data):
    with pytest.raises(ApiError) as error:
        read(ChatBody, data)

    assert error.value.status == 400


@pytest.mark.parametrize(
    ("error", "status", "code", "param"),
    [
        (
            InvalidArgument(
                "the prompt has 7 tokens; the context length of tiny is 5 tokens for prompt and answer together",
                where="prompt",
            ),
            400,
            "context_length_exceeded",
            "prompt",
        ),
        (InvalidArgument("no such thing", where="Processor.generate(request)"), 400, None, None),
        (
            InvalidArgument("token id 9 is not in the vocabulary of long-context-7b", where="prompt"),
            400,
            None,
            "prompt",
        ),
        (DeadlineExceeded("not answered in 5 s"), 503, None, None),
        (NoInstances("no worker serves dynamo://a/b/c"), 503, None, None),
        (WorkerLost("worker Echo.0.1 of dynamo://a/b went away"), 503, None, None),
        (EngineError("the engine of Processor died of a secret"), 503, None, None),
        (EndpointError("KeyError: secret", where="Processor.generate"), 500, None, None),
        (ZeroDivisionError("secret"), 500, None, None),
    ],
    ids=str,
)
def test_errors_as_a_client_receives_them(error, status, code, param):
    answer = api_error(error)

    assert (answer.status, answer.code, answer.param) == (status, code, param)
    assert not any(word in answer.message for word in ("secret", "dynamo://", "Processor"))


def events(data):
    return [json.loads(line[6:]) for line in data.decode().split("\n\n") if line]


def test_a_delta_with_nothing_but_text_is_written_like_any_other():
    quick, slow = ChatAnswer("id", "m"), ChatAnswer("id", "m")
    text = 'quote " newline \n é 漢 \u2028'
    _, plain = events(quick.events(quick.choices[0], TextDelta(text, 1)))
    _, last = events(slow.events(slow.choices[0], TextDelta(text, 1, "stop")))

    assert plain["choices"][0] == {**last["choices"][0], "finish_reason": None}
    assert plain["choices"][0]["delta"] == {"content": text}
    assert {k: v for k, v in plain.items() if k not in {"choices", "created"}} == {
        "id": "id",
        "object": "chat.completion.chunk",
        "model": "m",
    }


def test_a_delta_without_text_has_no_event():
    answer = CompletionAnswer("id", "m")

    assert answer.events(answer.choices[0], TextDelta("", 1)) == b""
    assert answer.usage()["completion_tokens"] == 1


def test_usage_counts_each_prompt_once_and_every_choice():
    answer = CompletionAnswer("id", "m", prompts=2, n=2, usage=True)
    for choice in answer.choices:
        answer.events(choice, TextDelta("a", 3, "", 10 + choice.prompt, 4))
        answer.events(choice, TextDelta("", 1, "stop"))
    *_, last = events(answer.last().removesuffix(DONE))

    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 21,
        "completion_tokens": 16,
        "total_tokens": 37,
        "prompt_tokens_details": {"cached_tokens": 8},
    }


def test_tool_calls_in_a_stream_are_numbered():
    answer = ChatAnswer("id", "m")
    call = ToolCall("c", "f", "{}")
    _, one_call = events(answer.events(answer.choices[0], TextDelta("", 1, tool_calls=[call])))
    (another,) = events(answer.events(answer.choices[0], TextDelta("", 1, "tool_calls", tool_calls=[call])))

    assert [e["choices"][0]["delta"]["tool_calls"][0]["index"] for e in (one_call, another)] == [0, 1]
    assert another["choices"][0]["finish_reason"] == "tool_calls"


def test_the_best_choices_of_each_prompt_have_the_highest_mean_log_probability():
    answer = CompletionAnswer("id", "m", prompts=2, n=2, candidates=3)
    prompt = [TextLogprob("p", b"p", -9.0)] * 5  # of an echo, which does not count
    values = [[-1.0, -3.0], [-0.5], [-1.0, -1.0, -2.5], [-5.0], [-6.0], [-4.0]]
    for choice, own in zip(answer.choices, values, strict=True):
        logprobs = [TextLogprob("a", b"a", value) for value in own]
        choice.add(TextDelta(str(own), len(own), "stop", 10, logprobs=prompt + logprobs))
    whole = json.loads(answer.whole())

    assert [choice["text"] for choice in whole["choices"]] == [str(values[n]) for n in (1, 2, 5, 3)]
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2, 3]
    assert whole["usage"]["completion_tokens"] == 9
    assert whole["usage"]["prompt_tokens"] == 20
    assert whole["choices"][0]["logprobs"] is None


def test_candidates_are_sequences_with_log_probabilities():
    requests = converted(CompletionBody, {"prompt": ["a", "b"], "n": 2, "best_of": 3, "seed": 5})

    assert [request.prompt for request in requests] == ["a"] * 3 + ["b"] * 3
    assert {request.sampling.logprobs for request in requests} == {0}
    assert [request.sampling.seed for request in requests] == [5, 6, 7] * 2
    assert one(CompletionBody, best_of=1).sampling.logprobs is None


@pytest.mark.parametrize(("is_named", "finish"), [(False, "tool_calls"), (True, "stop")])
def test_an_answer_that_calls_the_tool_that_the_client_named_ends_with_stop(is_named, finish):
    call = ToolCall("c", "f", "{}")
    answer = ChatAnswer("id", "m", named_call=is_named)
    answer.choices[0].add(TextDelta("", 1, "tool_calls", tool_calls=[call]))

    assert json.loads(answer.whole())["choices"][0]["finish_reason"] == finish


def test_log_probabilities_of_tokens_without_text_are_sent():
    answer = CompletionAnswer("id", "m", logprobs=True)
    (event,) = events(answer.events(answer.choices[0], TextDelta("", 1, logprobs=[TextLogprob("", b"\xe6", -1.0)])))

    assert event["choices"][0]["logprobs"]["token_logprobs"] == [-1.0]


def test_text_offsets_count_characters_and_parts_of_characters_are_written_as_bytes():
    answer = CompletionAnswer("id", "m", logprobs=True)
    parts = [TextLogprob("\ufffd", bytes([byte]), -1.0, [("\ufffd", b"\xff", -2.0)]) for byte in "世".encode()]
    (event,) = events(
        answer.events(answer.choices[0], TextDelta("世b", 4, logprobs=[*parts, TextLogprob("b", b"b", -1.0)]))
    )

    logprobs = event["choices"][0]["logprobs"]
    assert logprobs["text_offset"] == [0, 0, 0, 1]
    assert logprobs["top_logprobs"][0] == {"bytes:\\xff": -2.0, "bytes:\\xe4": -1.0}
    assert logprobs["top_logprobs"][3] == {"b": -1.0}


def test_parallel_tool_calls_false_allows_one_call():
    assert one(ChatBody, tools=[TOOL]).parallel_tool_calls
    assert not one(ChatBody, tools=[TOOL], parallel_tool_calls=False).parallel_tool_calls
    tools = ToolCalls(most=1)
    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    assert tools.feed(call + "and" + call) == "and"
    assert [each.name for each in tools.take()] == ["f"]


def test_an_aborted_answer_is_an_error():
    answer = ChatAnswer("id", "m")
    with pytest.raises(ApiError) as error:
        answer.events(answer.choices[0], TextDelta("", 0, "abort"))

    assert error.value.status == 503
