"""Requests that cannot be served, through whole graphs over HTTP: each is told what is wrong, and leaves nothing behind."""

import json

import psutil
import pytest
from graph_parts import BOUND, calls_of, is_free, serve, until
from http_parts import CHAT, COMPLETION, EMBEDDING, ask, asking, echoed

from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

CONTEXT = 512
MAX_RUNNING = 16
LONGEST_MESSAGE = 1000  # characters
SMALL = 512 * 2**20  # bytes of memory, of which nothing that is refused may need as much


@pytest.fixture(scope="module", params=["direct", "routed"])
def graph(request, module_project):
    args = [f"--Echo.max_model_len={CONTEXT}", "--Echo.block_size=16", f"--Api.max_running={MAX_RUNNING}"]
    args += ["--Echo.tokens_per_second=400"]
    with serve(module_project, request.param, *args) as deployment:
        yield deployment


def said(content, **fields):
    return {"role": "user", "content": content, **fields}


def chat(**given):
    return CHAT, {"model": "tiny", "messages": [said("hi")], **given}


def completion(**given):
    return COMPLETION, {"model": "tiny", "prompt": "hi", **given}


def nested(depth, before=b'{"model": "tiny", "messages": [{"role": "user", "content": "x", "more": ', after=b"}]}"):
    return CHAT, before + b"[" * depth + b"]" * depth + after


def called(arguments):
    function = {"name": "f", "arguments": arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}


def raw(text):
    return CHAT, text if isinstance(text, bytes) else text.encode()


LONG = "word " * (2 * CONTEXT)
HUGE = "word " * 1_600_000  # 8 MB
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
OVER, JSON, VALUE, NOT_HERE = "context_length_exceeded", "invalid_json", "invalid_value", "unsupported_parameter"
BAD = {
    # of the prompt and the context
    "a chat over the context": (chat(messages=[said(LONG)]), "messages", OVER, f"{CONTEXT}"),
    "a chat of many messages over it": (chat(messages=[said("word " * 20)] * 50), "messages", OVER, f"{CONTEXT}"),
    "a chat of megabytes": (chat(messages=[said(HUGE)]), "messages", OVER, f"{CONTEXT}"),
    "a text over the context": (completion(prompt=LONG), "prompt", OVER, f"{CONTEXT}"),
    "a text of megabytes": (completion(prompt=HUGE), "prompt", OVER, f"{CONTEXT}"),
    "such a text several times": (completion(prompt=HUGE, n=6), "prompt", OVER, f"{CONTEXT}"),
    "such a text many times": (completion(prompt=HUGE, n=MAX_RUNNING), "n", None, "too large for 16 choices"),
    "more messages than tokens": (chat(messages=[said("")] * 10**5), "messages", OVER, f"{CONTEXT}"),
    "tokens over the context": (completion(prompt=[5] * CONTEXT), "prompt", OVER, f"{CONTEXT} tokens"),
    "a million tokens": (completion(prompt=[5] * 10**6), "prompt", OVER, f"{CONTEXT}"),
    "one prompt of two over it": (completion(prompt=["hi", LONG]), "prompt", OVER, f"{CONTEXT}"),
    "the same in a stream": (completion(prompt=[LONG, LONG], stream=True), "prompt", OVER, f"{CONTEXT}"),
    "an empty prompt": (completion(prompt=""), "prompt", None, "prompt is empty"),
    "no prompt in the list": (completion(prompt=[]), "prompt", VALUE, "length >= 1"),
    "an empty list of tokens": (completion(prompt=[[]]), "prompt", None, "none empty"),
    "an empty prompt of two": (completion(prompt=["a", ""]), "prompt", None, "prompt is empty"),
    "a token beyond the vocabulary": (
        completion(prompt=[5, 10**5]),
        "prompt",
        None,
        "token id 100000 is not in the vocabulary",
    ),
    "a token of 33 bits": (completion(prompt=[2**32]), "prompt[0]", VALUE, "<= 4294967295"),
    "a token of a hundred bits": (completion(prompt=[2**100]), "prompt[0]", VALUE, "<= 4294967295"),
    "a token below 0": (completion(prompt=[-1]), "prompt[0]", VALUE, ">= 0"),
    "half a token": (completion(prompt=[0.5]), "prompt[0]", VALUE, "float"),
    # of the answer's length
    "a million tokens asked for": (chat(max_tokens=10**6), "max_tokens", OVER, f"{CONTEXT}"),
    "more than is left": (completion(prompt=[5] * 500, max_tokens=20), "max_tokens", OVER, "leaves 12 for the answer"),
    "more than is left of a chat": (
        chat(messages=[said("hi " * 99)], max_completion_tokens=500),
        "max_completion_tokens",
        OVER,
        "leaves",
    ),
    "no tokens asked for": (completion(max_tokens=0), "max_tokens", VALUE, ">= 1"),
    # of JSON
    "no body": (raw(""), None, JSON, "not valid JSON"),
    "half a body": (raw('{"model": "tiny", "messages": [{"role"'), None, JSON, "not valid JSON"),
    "two bodies": (raw(json.dumps(chat()[1]) * 2), None, JSON, "trailing"),
    "NaN": (raw('{"model": "tiny", "temperature": NaN}'), None, JSON, "not valid JSON"),
    "Infinity": (raw('{"model": "tiny", "temperature": Infinity}'), None, JSON, "not valid JSON"),
    "a number too large": (chat(temperature=10**400), "temperature", VALUE, "out of range"),
    "bytes that are no UTF-8": (raw(b'{"model": "\xff\xfe"}'), None, JSON, "not valid JSON"),
    "half a surrogate": (raw(r'{"model": "tiny", "messages": [{"content": "\ud800"}]}'), None, JSON, "not valid JSON"),
    "UTF-16": (raw(json.dumps(chat()[1]).encode("utf-16")), None, JSON, "not valid JSON"),
    "a byte order mark": (raw("\ufeff" + json.dumps(chat()[1])), None, JSON, "not valid JSON"),
    "a list": (raw("[1, 2]"), None, VALUE, "got `array`"),
    "a text": (raw('"hi"'), None, VALUE, "got `str`"),
    "null": (raw("null"), None, VALUE, "got `null`"),
    "lists a hundred deep": (nested(100), "messages", VALUE, "nested"),
    "lists five hundred deep": (nested(500), "messages", VALUE, "nested"),
    "lists nearly as deep as can be read": (nested(980), "messages", VALUE, "nested"),
    "lists deeper than any Python reads": (nested(10**6), None, JSON, "not valid JSON"),
    "lists without end": (raw(b'{"model": "tiny", "messages": ' + b"[" * 10**6), "messages[0]", VALUE, "got `array`"),
    "a deep role": (nested(500, b'{"model": "tiny", "messages": [{"role": '), "messages", VALUE, "nested"),
    "a deep tool": (
        nested(500, b'{"model": "tiny", "messages": [{"role": "user", "content": "x"}], "tools": [{"x": '),
        "tools",
        VALUE,
        "nested",
    ),
    # of parameters
    "an unknown model": (chat(model="huge"), "model", "model_not_found", "Available models: tiny"),
    "an unknown model of a long name": (chat(model="x" * 10**6), "model", "model_not_found", "does not exist"),
    "no model": (raw('{"messages": [{"role": "user", "content": "x"}]}'), "model", "missing_required_parameter", ""),
    "a model that is null": (chat(model=None), "model", VALUE, "got `null`"),
    "a misspelt parameter": (chat(max_token=3), "max_token", "unknown_parameter", "max_tokens"),
    "a parameter of a long name": (chat(**{"x" * 10**6: 1}), ..., "unknown_parameter", "Unrecognized"),
    "a thousand stops": (chat(stop=["x"] * 1000), "stop", VALUE, "<= 16"),
    "a stop of a million characters": (chat(stop="x" * 10**6), "stop", VALUE, "<= 256"),
    "no choice": (chat(n=0), "n", VALUE, ">= 1"),
    "a thousand choices": (chat(n=1000), "n", VALUE, "<= 128"),
    "more choices than run at once": (chat(n=MAX_RUNNING + 1), "n", None, f"the limit is {MAX_RUNNING}"),
    "a temperature of 3": (chat(temperature=3), "temperature", VALUE, "<= 2"),
    "a thousand log probabilities": (completion(logprobs=1000), "logprobs", VALUE, "<= 20"),
    "a thousand of a chat": (chat(logprobs=True, top_logprobs=1000), "top_logprobs", VALUE, "<= 20"),
    "an unknown form of answer": (chat(response_format={"type": "x" * 10**6}), "response_format.type", VALUE, "enum"),
    # of what this model has not
    "tools": (chat(tools=[FUNCTION]), "tools", None, "does not support tools"),
    "a schema": (chat(response_format=SCHEMA), "response_format", NOT_HERE, "does not support"),
    "embeddings": ((EMBEDDING, {"model": "tiny", "input": "hi"}), "model", NOT_HERE, "embeddings"),
    # of messages
    "an image": (chat(messages=[said([IMAGE])]), "messages[0].content[0]", None, "is supported"),
    "an image after a text": (
        chat(messages=[said("hi"), said([{"type": "text", "text": "this?"}, IMAGE])]),
        "messages[1].content[1]",
        None,
        "is supported",
    ),
    "no role": (chat(messages=[{"content": "hi"}]), "messages[0].role", None, "must be one of system"),
    "a role that the template has not": (
        chat(messages=[said("x", role="developer")]),
        "messages",
        None,
        "no such role",
    ),
    "a role of a million characters": (
        chat(messages=[said("x", role="x" * 10**6)]),
        "messages[0].role",
        None,
        "must be one of",
    ),
    "no content": (chat(messages=[{"role": "user"}]), "messages[0].content", None, "Missing"),
    "a content that is null": (chat(messages=[said(None)]), "messages[0].content", None, "Missing"),
    "a content that is a number": (chat(messages=[said(7)]), "messages[0].content", None, "expected a text"),
    "a message that is null": (chat(messages=[None]), "messages[0]", VALUE, "got `null`"),
    "a message that is a text": (chat(messages=["hi"]), "messages[0]", VALUE, "got `str`"),
    "no message": (chat(messages=[]), "messages", VALUE, "length >= 1"),
    "messages that are null": (chat(messages=None), "messages", VALUE, "got `null`"),
    "calls that are a number": (
        chat(messages=[{"role": "assistant", "content": None, "tool_calls": 5}]),
        "messages",
        None,
        "rejected",
    ),
    "arguments of a call without end": (chat(messages=[called("[" * 10**6)]), "messages", OVER, f"{CONTEXT}"),
}


async def is_served(url):
    text, size = echoed("still here", 8)
    status, _, answer = await ask(url, *completion(prompt="still here", max_tokens=8))
    assert (status, answer["choices"][0]["text"]) == (200, text)
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (size, 8)


def memory_of(graph):
    workers = [worker for service in graph.status.services.values() for worker in service.workers]
    return sum(psutil.Process(worker.pid).memory_info().rss for worker in workers)


@pytest.mark.parametrize(("asked", "param", "code", "message"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_told_and_nothing_of_it_stays(graph, asked, param, code, message):
    async def main():
        url = graph.urls["Api"]
        told = await ask(url, *asked)
        await until(lambda: is_free(graph))
        await is_served(url)
        return told

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


def test_an_answer_goes_on_while_others_ask_for_what_cannot_be_served(graph):
    count = 480
    text, _ = echoed("going on", count)

    async def main():
        path, body = completion(prompt="going on", max_tokens=count, stream=True)
        async with asking(graph.urls["Api"], path, body) as request:
            assert (await request.head())[0] == 200
            events = request.events()
            told = [await anext(events)]
            statuses = {(await ask(graph.urls["Api"], *asked))[0] for asked, *_ in BAD.values()}
            told += [event async for event in events]
            return statuses, told

    statuses, told = portal.run(main(), BOUND)
    assert statuses == {400, 404}
    assert told.pop() == "[DONE]"
    assert "".join(event["choices"][0]["text"] for event in told) == text


BAD_INPUTS = {
    "a text over the context": (LONG, "input", OVER),
    "an empty text of many": (["hi"] * 40 + [""], "input", None),
    "a token beyond the vocabulary": ([[5], [10**5]], "input", None),
}


@pytest.fixture(scope="module")
def embedding(module_project):
    with serve(module_project, "embedding", f"--Embedder.max_model_len={CONTEXT}") as deployment:
        yield deployment


@pytest.mark.parametrize(("given", "param", "code"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_of_texts_to_embed_too(embedding, given, param, code):
    async def main():
        url = embedding.urls["Api"]
        told = await ask(url, EMBEDDING, {"model": "tiny", "input": given})
        assert await embedding.Api.admitted() == 0
        await until(lambda: nothing_runs(embedding))
        status, _, answer = await ask(url, EMBEDDING, {"model": "tiny", "input": ["still", "here"]})
        assert (status, len(answer["data"])) == (200, 2)
        return told

    status, _, answer = portal.run(main(), BOUND)
    error = answer["error"]
    assert (status, error["param"], error["code"]) == (400, param, code)


async def nothing_runs(graph):
    return await calls_of(graph) == {}
