"""Invalid requests to whole graphs over HTTP: each gets an error that names the fault, and leaves nothing behind."""

import json

import psutil
import pytest
from echo_graphs import BOUND, is_idle, open_calls, poll_until, serve
from http_client import CHAT, COMPLETION, EMBEDDING, echoed, open_request, send

from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

CONTEXT = 512
MAX_RUNNING = 16
LONGEST_MESSAGE = 1000  # characters
SMALL = 512 * 2**20  # bytes of memory; more than a refused request may use


@pytest.fixture(scope="module", params=["direct", "routed"])
def graph(request, module_project):
    args = [f"--Echo.max_model_len={CONTEXT}", "--Echo.block_size=16", f"--Api.max_running={MAX_RUNNING}"]
    args += ["--Echo.tokens_per_second=400"]
    with serve(module_project, request.param, *args) as deployment:
        yield deployment


def user(content, **fields):
    return {"role": "user", "content": content, **fields}


def chat(**fields):
    return CHAT, {"model": "tiny", "messages": [user("hi")], **fields}


def completion(**fields):
    return COMPLETION, {"model": "tiny", "prompt": "hi", **fields}


def nested(depth, before=b'{"model": "tiny", "messages": [{"role": "user", "content": "x", "more": ', after=b"}]}"):
    return CHAT, before + b"[" * depth + b"]" * depth + after


def assistant_call(arguments):
    function = {"name": "f", "arguments": arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}


def raw(text):
    return CHAT, text if isinstance(text, bytes) else text.encode()


LONG = "word " * (2 * CONTEXT)
HUGE = "word " * 1_600_000  # 8 MB
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOO_LONG, JSON, VALUE, UNSUPPORTED = "context_length_exceeded", "invalid_json", "invalid_value", "unsupported_parameter"
BAD = {
    # prompt and context
    "a chat over the context": (chat(messages=[user(LONG)]), "messages", TOO_LONG, f"{CONTEXT}"),
    "many messages over the context": (chat(messages=[user("word " * 20)] * 50), "messages", TOO_LONG, f"{CONTEXT}"),
    "a chat of megabytes": (chat(messages=[user(HUGE)]), "messages", TOO_LONG, f"{CONTEXT}"),
    "a text over the context": (completion(prompt=LONG), "prompt", TOO_LONG, f"{CONTEXT}"),
    "a text of megabytes": (completion(prompt=HUGE), "prompt", TOO_LONG, f"{CONTEXT}"),
    "megabytes with several choices": (completion(prompt=HUGE, n=6), "prompt", TOO_LONG, f"{CONTEXT}"),
    "megabytes with many choices": (completion(prompt=HUGE, n=MAX_RUNNING), "n", None, "too large for 16 choices"),
    "more messages than tokens": (chat(messages=[user("")] * 10**5), "messages", TOO_LONG, f"{CONTEXT}"),
    "tokens over the context": (completion(prompt=[5] * CONTEXT), "prompt", TOO_LONG, f"{CONTEXT} tokens"),
    "a million tokens": (completion(prompt=[5] * 10**6), "prompt", TOO_LONG, f"{CONTEXT}"),
    "one prompt of two over the context": (completion(prompt=["hi", LONG]), "prompt", TOO_LONG, f"{CONTEXT}"),
    "two prompts over the context, in a stream": (
        completion(prompt=[LONG, LONG], stream=True),
        "prompt",
        TOO_LONG,
        f"{CONTEXT}",
    ),
    "an empty prompt": (completion(prompt=""), "prompt", None, "prompt is empty"),
    "an empty list of prompts": (completion(prompt=[]), "prompt", VALUE, "length >= 1"),
    "an empty list of tokens": (completion(prompt=[[]]), "prompt", None, "must not be empty"),
    "one empty prompt of two": (completion(prompt=["a", ""]), "prompt", None, "prompt is empty"),
    "a token beyond the vocabulary": (
        completion(prompt=[5, 10**5]),
        "prompt",
        None,
        "token id 100000 is not in the vocabulary",
    ),
    "a token of 33 bits": (completion(prompt=[2**32]), "prompt[0]", VALUE, "<= 4294967295"),
    "a token of a hundred bits": (completion(prompt=[2**100]), "prompt[0]", VALUE, "<= 4294967295"),
    "a negative token": (completion(prompt=[-1]), "prompt[0]", VALUE, ">= 0"),
    "a fractional token": (completion(prompt=[0.5]), "prompt[0]", VALUE, "float"),
    # length of the answer
    "max_tokens of a million": (chat(max_tokens=10**6), "max_tokens", TOO_LONG, f"{CONTEXT}"),
    "max_tokens beyond the context": (
        completion(prompt=[5] * 500, max_tokens=20),
        "max_tokens",
        TOO_LONG,
        "leaves 12 for the answer",
    ),
    "max_completion_tokens beyond the context": (
        chat(messages=[user("hi " * 99)], max_completion_tokens=500),
        "max_completion_tokens",
        TOO_LONG,
        "leaves",
    ),
    "max_tokens of 0": (completion(max_tokens=0), "max_tokens", VALUE, ">= 1"),
    # JSON
    "an empty body": (raw(""), None, JSON, "not valid JSON"),
    "an incomplete body": (raw('{"model": "tiny", "messages": [{"role"'), None, JSON, "not valid JSON"),
    "two bodies": (raw(json.dumps(chat()[1]) * 2), None, JSON, "trailing"),
    "NaN": (raw('{"model": "tiny", "temperature": NaN}'), None, JSON, "not valid JSON"),
    "Infinity": (raw('{"model": "tiny", "temperature": Infinity}'), None, JSON, "not valid JSON"),
    "a number too large": (chat(temperature=10**400), "temperature", VALUE, "out of range"),
    "invalid UTF-8": (raw(b'{"model": "\xff\xfe"}'), None, JSON, "not valid JSON"),
    "half a surrogate": (raw(r'{"model": "tiny", "messages": [{"content": "\ud800"}]}'), None, JSON, "not valid JSON"),
    "UTF-16": (raw(json.dumps(chat()[1]).encode("utf-16")), None, JSON, "not valid JSON"),
    "a byte order mark": (raw("\ufeff" + json.dumps(chat()[1])), None, JSON, "not valid JSON"),
    "a list": (raw("[1, 2]"), None, VALUE, "got `array`"),
    "a text": (raw('"hi"'), None, VALUE, "got `str`"),
    "null": (raw("null"), None, VALUE, "got `null`"),
    "100 nested lists": (nested(100), "messages", VALUE, "nested"),
    "500 nested lists": (nested(500), "messages", VALUE, "nested"),
    "980 nested lists, nearly the limit of the decoder": (nested(980), "messages", VALUE, "nested"),
    "a million nested lists": (nested(10**6), None, JSON, "not valid JSON"),
    "a million opening brackets": (
        raw(b'{"model": "tiny", "messages": ' + b"[" * 10**6),
        None,
        JSON,
        "not valid JSON",
    ),
    "a nested role": (nested(500, b'{"model": "tiny", "messages": [{"role": '), "messages", VALUE, "nested"),
    "a nested tool": (
        nested(500, b'{"model": "tiny", "messages": [{"role": "user", "content": "x"}], "tools": [{"x": '),
        "tools",
        VALUE,
        "nested",
    ),
    # parameters
    "an unknown model": (chat(model="huge"), "model", "model_not_found", "Available models: tiny"),
    "an unknown model with a long name": (chat(model="x" * 10**6), "model", "model_not_found", "does not exist"),
    "no model": (raw('{"messages": [{"role": "user", "content": "x"}]}'), "model", "missing_required_parameter", ""),
    "a model that is null": (chat(model=None), "model", VALUE, "got `null`"),
    "a misspelt parameter": (chat(max_token=3), "max_token", "unknown_parameter", "max_tokens"),
    "an unsupported parameter beside one with a long name": (
        chat(**{"x" * 10**6: 1}, watermarking=True),
        "watermarking",
        UNSUPPORTED,
        "not supported",
    ),
    "a thousand stops": (chat(stop=["x"] * 1000), "stop", VALUE, "<= 16"),
    "a stop of a million characters": (chat(stop="x" * 10**6), "stop", VALUE, "<= 256"),
    "0 choices": (chat(n=0), "n", VALUE, ">= 1"),
    "a thousand choices": (chat(n=1000), "n", VALUE, "<= 128"),
    "more choices than run at once": (chat(n=MAX_RUNNING + 1), "n", None, f"the limit is {MAX_RUNNING}"),
    "a temperature of 3": (chat(temperature=3), "temperature", VALUE, "<= 2"),
    "a thousand log probabilities": (completion(logprobs=1000), "logprobs", VALUE, "<= 20"),
    "a thousand log probabilities of a chat": (chat(logprobs=True, top_logprobs=1000), "top_logprobs", VALUE, "<= 20"),
    "an unknown response format": (chat(response_format={"type": "x" * 10**6}), "response_format.type", VALUE, "enum"),
    # features that this model lacks
    "tools": (chat(tools=[FUNCTION]), "tools", None, "does not support tools"),
    "a schema": (chat(response_format=SCHEMA), "response_format", UNSUPPORTED, "does not support"),
    "embeddings": ((EMBEDDING, {"model": "tiny", "input": "hi"}), "model", UNSUPPORTED, "embeddings"),
    # messages
    "an image": (chat(messages=[user([IMAGE])]), "messages[0].content[0]", None, "is supported"),
    "an image after a text": (
        chat(messages=[user("hi"), user([{"type": "text", "text": "this?"}, IMAGE])]),
        "messages[1].content[1]",
        None,
        "is supported",
    ),
    "no role": (chat(messages=[{"content": "hi"}]), "messages[0].role", None, "needs a role"),
    "a role that the template does not have": (
        chat(messages=[user("x", role="function")]),
        "messages",
        None,
        "no such role",
    ),
    "a role of a million characters": (
        chat(messages=[user("x", role="x" * 10**6)]),
        "messages",
        None,
        "no such role",
    ),
    "no content": (chat(messages=[{"role": "user"}]), "messages[0].content", None, "Missing"),
    "a content that is null": (chat(messages=[user(None)]), "messages[0].content", None, "Missing"),
    "a content that is a number": (chat(messages=[user(7)]), "messages[0].content", None, "expected a text"),
    "a message that is null": (chat(messages=[None]), "messages[0]", VALUE, "got `null`"),
    "a message that is a text": (chat(messages=["hi"]), "messages[0]", VALUE, "got `str`"),
    "no message": (chat(messages=[]), "messages", VALUE, "length >= 1"),
    "messages that are null": (chat(messages=None), "messages", VALUE, "got `null`"),
    "calls that are a number": (
        chat(messages=[{"role": "assistant", "content": None, "tool_calls": 5}]),
        "messages[0].tool_calls",
        None,
        "expected a list",
    ),
    "arguments of a call with a million characters": (
        chat(messages=[assistant_call(json.dumps({"a": "word " * 200_000}))]),
        "messages",
        TOO_LONG,
        f"{CONTEXT}",
    ),
}


async def is_served(url):
    text, size = echoed("still here", 8)
    status, _, answer = await send(url, *completion(prompt="still here", max_tokens=8))
    assert (status, answer["choices"][0]["text"]) == (200, text)
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (size, 8)


def memory_of(graph):
    workers = [worker for service in graph.status.services.values() for worker in service.workers]
    return sum(psutil.Process(worker.pid).memory_info().rss for worker in workers)


@pytest.mark.parametrize(("request_", "param", "code", "message"), BAD.values(), ids=BAD)
def test_an_invalid_request_gets_an_error_and_leaves_nothing_behind(graph, request_, param, code, message):
    async def main():
        url = graph.urls["Api"]
        answer = await send(url, *request_)
        await poll_until(lambda: is_idle(graph))
        await is_served(url)
        return answer

    before = memory_of(graph)
    status, headers, answer = portal.run(main(), BOUND)
    error = answer["error"]
    assert headers["content-type"] == "application/json"
    assert (status, error["type"]) == (404 if code == "model_not_found" else 400, "invalid_request_error")
    assert (error["code"], error["param"]) == (code, error["param"] if param is ... else param)
    assert message in error["message"]
    assert len(error["message"]) < LONGEST_MESSAGE
    assert len(error["param"] or "") < LONGEST_MESSAGE
    assert memory_of(graph) - before < SMALL


def test_invalid_requests_do_not_disturb_a_running_answer(graph):
    count = 480
    text, _ = echoed("going on", count)

    async def main():
        path, body = completion(prompt="going on", max_tokens=count, stream=True)
        async with open_request(graph.urls["Api"], path, body) as request:
            assert (await request.head())[0] == 200
            events = request.events()
            received = [await anext(events)]
            statuses = {(await send(graph.urls["Api"], *request_))[0] for request_, *_ in BAD.values()}
            received += [event async for event in events]
            return statuses, received

    statuses, received = portal.run(main(), BOUND)
    assert statuses == {400, 404}
    assert received.pop() == "[DONE]"
    assert "".join(event["choices"][0]["text"] for event in received) == text


BAD_INPUTS = {
    "a text over the context": (LONG, "input", TOO_LONG),
    "one empty text of many": (["hi"] * 40 + [""], "input", None),
    "a token beyond the vocabulary": ([[5], [10**5]], "input", None),
}


@pytest.fixture(scope="module")
def embedding(module_project):
    with serve(module_project, "embedding", f"--Embedder.max_model_len={CONTEXT}") as deployment:
        yield deployment


@pytest.mark.parametrize(("texts", "param", "code"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_invalid_texts_to_embed_get_an_error_and_leave_nothing_behind(embedding, texts, param, code):
    async def main():
        url = embedding.urls["Api"]
        answer = await send(url, EMBEDDING, {"model": "tiny", "input": texts})
        assert await embedding.Api.admitted() == 0
        await poll_until(lambda: nothing_runs(embedding))
        status, _, served = await send(url, EMBEDDING, {"model": "tiny", "input": ["still", "here"]})
        assert (status, len(served["data"])) == (200, 2)
        return answer

    status, _, answer = portal.run(main(), BOUND)
    error = answer["error"]
    assert (status, error["param"], error["code"]) == (400, param, code)


async def nothing_runs(graph):
    return await open_calls(graph) == {}
