"""Fields that are not parameters: those that would change the answer are refused, the others ignored and reported."""

import json
import logging

import pytest
import pytest_asyncio
from client_bodies import CLIENTS
from local_graph import echo_client

from dynamo_nb.llm.api.bodies import ChatBody, CompletionBody, EmbeddingBody, read
from dynamo_nb.llm.api.errors import ApiError
from dynamo_nb.llm.api.fields import DEFAULTS, MAX_FIELDS, MAX_REPORTED, IgnoredFields

LEAST = {ChatBody: {"messages": [{"role": "user", "content": "hi"}]}, CompletionBody: {"prompt": "p"}}
LEAST[EmbeddingBody] = {"input": "p"}
KINDS = pytest.mark.parametrize("kind", [ChatBody, CompletionBody])
ANYTHING = {"some": ["thing"]}  # no default of any field


def body(kind, fields, ignored=None):
    return read(kind, json.dumps({"model": "m", **LEAST[kind], **fields}).encode(), ignored)


def error_of(kind, fields):
    with pytest.raises(ApiError) as error:
        body(kind, fields)
    assert error.value.status == 400
    return error.value


@KINDS
@pytest.mark.parametrize("name", DEFAULTS)
def test_a_field_that_would_change_the_answer_is_refused_unless_it_has_its_default(kind, name):
    if name in kind.__struct_encode_fields__:
        return
    default, instead = DEFAULTS[name]
    plain = body(kind, {})
    assert body(kind, {name: kind.defaults.get(name, default)}) == plain
    assert body(kind, {name: None}) == plain

    error = error_of(kind, {name: ANYTHING})
    assert (error.param, error.code) == (name, "unsupported_parameter")
    assert f"'{name}' is not supported" in error.message
    assert instead in error.message


# What clients send with the requests: fields of OpenAI, of vLLM and of their own.
HARMLESS = {
    "OpenAI": {"user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "prompt_cache_key": "k"},
    "OpenAI of today": {"safety_identifier": "s", "prompt_cache_retention": "24h", "prediction": ANYTHING},
    "vLLM": {"priority": 0, "request_id": "r", "session_id": "s", "skip_special_tokens": True, "bad_words": []},
    "vLLM's benchmark": {"repetition_penalty": 1.0, "ignore_eos": True, "add_special_tokens": None},
    "beams that are off": {"use_beam_search": False, "length_penalty": 1.0, "spaces_between_special_tokens": True},
    "priority": {"priority": 5},
    "a chat window": {"conversation_id": "c", "chat_id": "c", "id": "m", "session": "s", "user_id": "u"},
    "features of a chat window": {"features": {"web_search": False}, "background_tasks": ANYTHING, "files": []},
    "a proxy": {"litellm_params": ANYTHING, "api_base": "u", "num_retries": 3, "tags": ["a"], "cache": ANYTHING},
    "a tracer": {"trace_id": "t", "trace_name": "n", "generation_name": "g", "prompt_id": "p", "stream_id": "s"},
    "samplers that are off": {"typical_p": 1.0, "tfs": 1, "top_a": 0, "mirostat_mode": 0, "dry_multiplier": 0.0},
    "NVIDIA": {"nvext": {"annotations": ["token_ids"], "use_raw_prompt": False, "backend_instance_id": 1}},
    "a long name": {"x" * 10**6: 1},
    "no name": {"": 1},
    "null": {"max_token": None, "tool": None},
}


@KINDS
@pytest.mark.parametrize("fields", HARMLESS.values(), ids=HARMLESS)
def test_a_field_that_cannot_change_the_answer_is_ignored(kind, fields):
    known = {name: value for name, value in fields.items() if name in kind.__struct_encode_fields__}

    assert body(kind, fields) == body(kind, known)


STREAM = {"stream": True}
NEAR = [
    (ChatBody, {"max_token": 3}, "max_token", "max_tokens"),
    (ChatBody, {"maxTokens": 3}, "maxTokens", "max_tokens"),
    (ChatBody, {"max_new_tokens": 3}, "max_new_tokens", "max_tokens"),
    (ChatBody, {"temprature": 0}, "temprature", "temperature"),
    (ChatBody, {"topp": 0.5}, "topp", "top_p"),
    (ChatBody, {"repetition_penality": 1.2}, "repetition_penality", "repetition_penalty"),
    (ChatBody, {"dataSources": [{}]}, "dataSources", "data_sources"),
    (ChatBody, {"tool": []}, "tool", "tools"),
    (ChatBody, {"tokens": 5}, "tokens", "max_tokens"),
    (CompletionBody, {"stops": ["x"]}, "stops", "stop"),
    (CompletionBody, {"prompts": "x"}, "prompts", "prompt"),
    (CompletionBody, {"logprob": 3}, "logprob", "logprobs"),
    (CompletionBody, {"bad_word": ["x"]}, "bad_word", "bad_words"),
    (ChatBody, STREAM | {"stream_options": {"usage": True}}, "stream_options.usage", "include_usage"),
    (ChatBody, STREAM | {"stream_options": {"include_usages": True}}, "stream_options.include_usages", "include_usage"),
    (ChatBody, {"response_format": {"type": "text", "typ": 1}}, "response_format.typ", "type"),
    (ChatBody, {"nvext": {"ignore_eoss": True}}, "nvext.ignore_eoss", "ignore_eos"),
    (EmbeddingBody, {"encoding_formt": "base64"}, "encoding_formt", "encoding_format"),
]


@pytest.mark.parametrize(("kind", "fields", "param", "near"), NEAR, ids=[param for _, _, param, _ in NEAR])
def test_a_name_that_is_nearly_a_parameter_is_refused(kind, fields, param, near):
    error = error_of(kind, fields)

    assert (error.param, error.code) == (param, "unknown_parameter")
    assert f"did you mean '{near}'?" in error.message


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (ChatBody, "prompt", "x"),
        (ChatBody, "input", ["x"]),
        (ChatBody, "best_of", 2),
        (CompletionBody, "messages", [{"role": "user"}]),
        (CompletionBody, "max_completion_tokens", 5),
        (CompletionBody, "tools", [{}]),
        (EmbeddingBody, "temperature", 0.5),
    ],
    ids=str,
)
def test_a_parameter_of_another_endpoint_is_refused_unless_it_is_empty(kind, name, value):
    error = error_of(kind, {name: value})
    assert (error.param, error.code) == (name, "unknown_parameter")
    assert "another endpoint" in error.message
    assert body(kind, {name: type(value)()}) == body(kind, {})


EMBEDDINGS = [
    # field, its default in vLLM, another value, whether that is refused
    ("add_special_tokens", True, False, True),
    ("padding", None, True, True),
    ("embed_dtype", "float32", "float16", True),
    ("endianness", "native", "big", True),
    ("dimensions", None, 3, True),
    ("use_activation", None, False, True),
    ("truncate_prompt_tokens", None, 3, True),
    ("mm_processor_kwargs", None, {"a": 1}, True),
    ("truncation_side", None, "left", False),
    ("request_id", "r", "s", False),
    ("priority", 0, 3, False),
    ("cache_salt", None, "s", False),
    ("user", None, "u", False),
    ("nvext", None, {"annotations": ["a"]}, False),
]


@pytest.mark.parametrize(("name", "default", "other", "is_refused"), EMBEDDINGS, ids=[row[0] for row in EMBEDDINGS])
def test_a_field_of_a_request_for_embeddings(name, default, other, is_refused):
    assert body(EmbeddingBody, {name: default}) == body(EmbeddingBody, {})
    if is_refused:
        assert error_of(EmbeddingBody, {name: other}).code == "unsupported_parameter"
    else:
        assert body(EmbeddingBody, {name: other}) == body(EmbeddingBody, {})


@pytest.mark.parametrize("path", ["", "nvext"])
def test_the_number_of_fields_is_limited(path):
    def fields(count):
        given = {f"zz{number}": 1 for number in range(count)}
        return {path: given} if path else given

    assert body(ChatBody, fields(MAX_FIELDS - 2))
    error = error_of(ChatBody, fields(MAX_FIELDS + 1))
    assert error.param == (path or None)
    assert str(MAX_FIELDS) in error.message


OBJECTS = [
    (STREAM | {"stream_options": {"include_usage": True, "zzz": 1}}, "stream_options.zzz"),
    ({"response_format": {"type": "text", "zzz": 1}}, "response_format.zzz"),
    ({"nvext": {"zzz": 1}}, "nvext.zzz"),
]


@KINDS
@pytest.mark.parametrize(("fields", "name"), OBJECTS, ids=[name for _, name in OBJECTS])
def test_fields_of_objects_are_ignored_too(kind, fields, name, caplog):
    assert body(kind, fields)
    assert repr(name) in caplog.text


def test_an_ignored_field_is_reported_once(caplog):
    ignored = IgnoredFields()
    for _ in range(3):
        body(ChatBody, {"conversation_id": "secret", "user": "u"}, ignored)

    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [message.split("'")[1] for message in messages] == ["conversation_id", "user"]
    assert "secret" not in caplog.text


def test_the_log_of_ignored_fields_is_bounded(caplog):
    ignored = IgnoredFields()
    for number in range(2 * MAX_REPORTED):
        body(ChatBody, {f"zz{number}": 1, "x" * 10**3: 1, "line\nbreak": 1}, ignored)

    assert len(caplog.records) == MAX_REPORTED
    assert all("\n" not in record.getMessage() and len(record.getMessage()) < 2000 for record in caplog.records)


EXTENSION = [
    ({"ignore_eos": True}, {}, "ignore_eos", True),
    ({"ignore_eos": True}, {"ignore_eos": False}, "ignore_eos", False),
    ({"top_k": 3}, {}, "top_k", 3),
    ({"top_k": 3}, {"top_k": -1}, "top_k", -1),
    ({"repetition_penalty": 1.5}, {}, "repetition_penalty", 1.5),
    ({"greed_sampling": True}, {"temperature": 0.7}, "temperature", 0.0),
    ({"greed_sampling": False}, {"temperature": 0.7}, "temperature", 0.7),
    ({}, {}, "top_k", None),
]


@KINDS
@pytest.mark.parametrize(("extension", "fields", "name", "value"), EXTENSION, ids=str)
def test_parameters_in_nvext_count_unless_the_body_has_them(kind, extension, fields, name, value):
    assert getattr(body(kind, {"nvext": extension, **fields}), name) == value


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"top_k": -2}, "nvext.top_k"),
        ({"repetition_penalty": 0}, "nvext.repetition_penalty"),
        ({"use_raw_prompt": True}, "nvext.use_raw_prompt"),
        ({"token_data": [1]}, "nvext.token_data"),
        ({"guided_json": {}}, "nvext.guided_json"),
    ],
    ids=str,
)
def test_a_parameter_in_nvext_is_refused_by_its_path(fields, param):
    assert error_of(ChatBody, {"nvext": fields}).param == param


@pytest.mark.parametrize("salt", ["", "a/b", "a\\b", "a@b", "a\0b", "x" * 129], ids=repr)
def test_a_cache_salt_is_no_path(salt):
    assert error_of(ChatBody, {"cache_salt": salt}).param == "cache_salt"


@pytest_asyncio.fixture
async def client():
    async with echo_client() as client:
        yield client


@pytest.mark.parametrize("fields", [{"stream_options": {}}, {"top_logprobs": 0}], ids=str)
@pytest.mark.asyncio
async def test_an_option_that_asks_for_nothing_needs_no_other(client, fields):
    answer = await client.post("/v1/chat/completions", json={"model": "tiny", **LEAST[ChatBody], **fields})

    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
@pytest.mark.asyncio
async def test_each_event_has_the_usage_so_far_if_the_client_asks_for_it(client, path):
    kind = CompletionBody if path == "completions" else ChatBody
    options = {"include_usage": True, "continuous_usage_stats": True}
    given = {"model": "tiny", **LEAST[kind], "max_tokens": 4, "n": 2, "stream": True, "stream_options": options}
    answer = await client.post(f"/v1/{path}", json=given)
    *events, last, end = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert end == "[DONE]"
    last = json.loads(last)["usage"]
    for index in range(2):
        found = [json.loads(event) for event in events]
        usages = [event["usage"] for event in found if event["choices"][0]["index"] == index]
        counts = [usage["completion_tokens"] for usage in usages]
        assert counts == sorted(counts)
        assert counts[-1] == 4
        assert {usage["prompt_tokens"] for usage in usages} == {last["prompt_tokens"]}
    assert last["completion_tokens"] == 8


@pytest.mark.parametrize(("fields", "refused"), CLIENTS.values(), ids=CLIENTS)
@pytest.mark.asyncio
async def test_a_request_of_a_client_is_answered_unless_it_asks_for_another_answer(client, fields, refused):
    path = "completions" if "prompt" in fields else "chat/completions"
    answer = await client.post(f"/v1/{path}", json={"model": "tiny", "max_tokens": 3, **fields})

    if refused:
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, refused)
    else:
        assert answer.status_code == 200, answer.text
