"""The HTTP frontend of LLM graphs in a served graph, tested with OpenAI's client and with plain sockets."""

import json
import re
import socket
import subprocess
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import openai
import pytest

pytestmark = pytest.mark.slow

GRAPH = '''
import asyncio

from dynamo_nb import dynamo_endpoint, depends, service
from dynamo_nb.errors import InvalidArgument
from dynamo_nb.llm.frontend import Frontend
from dynamo_nb.llm.interfaces import TextProcessor
from dynamo_nb.llm.messages import Embedding, ModelInfo, ServedModel, TextDelta, TextLogprob, TextRequest, ToolCall

CONTEXT = 1024
ALL = ("logprobs", "seed", "json_schema", "embeddings")


def words_of(request):
    text = request.prompt if request.messages is None else request.messages[-1]["content"]
    return text.split() if isinstance(text, str) else [str(token) for token in text]


class Repeating(TextProcessor):
    """Answers with the words of its prompt, one for each token. Some words are commands."""

    name, features = "", ()

    def __init__(self):
        self.running, self.changed = set(), asyncio.Condition()

    async def notify(self):
        async with self.changed:
            self.changed.notify_all()

    @dynamo_endpoint()
    async def generate(self, request: TextRequest) -> TextDelta:
        self.running.add(request.request_id)
        await self.notify()
        try:
            words, sampling = words_of(request), request.sampling
            if request.tools:
                call = ToolCall("call-1", "look", "{}")
                yield TextDelta("", 1, "tool_calls", len(words), 0, tool_calls=[call])
                return
            if "long" in words:
                raise InvalidArgument(f"2000 tokens; the context is {CONTEXT}", where="messages", remedy="ask less")
            if "fail" in words:
                raise KeyError("secret")
            if "wait" in words:
                await asyncio.Event().wait()
            if sampling.seed is not None:
                words = [f"seed{sampling.seed}"]
            words = words[: sampling.max_tokens or CONTEXT]
            first = {"prompt_tokens": len(words_of(request)), "cached": 1}
            for number, word in enumerate(words):
                if word == "crash":
                    raise KeyError("secret")
                if word == "hang":
                    await asyncio.Event().wait()
                top = [(word + " ", (word + " ").encode(), -0.5)] * (sampling.logprobs or 0)
                logprobs = [] if sampling.logprobs is None else [TextLogprob(word + " ", (word + " ").encode(), -0.5, top)]
                yield TextDelta(word + " ", 1, "", **first, logprobs=logprobs)
                first = {}
            yield TextDelta("", 0, "stop", **first)
        finally:
            self.running.discard(request.request_id)
            await self.notify()

    @dynamo_endpoint()
    async def embed(self, request: TextRequest) -> Embedding:
        return Embedding([float(len(word)) for word in words_of(request)], len(words_of(request)))

    @dynamo_endpoint()
    async def models(self) -> list[ServedModel]:
        return [ServedModel(self.name, ModelInfo(model=self.name, context=CONTEXT, block_size=16, features=self.features))]

    @dynamo_endpoint()
    async def wait_for_running(self, count: int) -> int:
        """Returns when so many requests are running."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.running) == count)
        return count


@service
class First(Repeating):
    name, features = "first/own", ALL


@service
class Second(Repeating):
    name = "second"


@service
class Api(Frontend):
    processor = depends(First)
    second = depends(Second)
'''
LIMIT = 8
SLOW = 20  # seconds for anything here, on a busy machine


@pytest.fixture(scope="module")
def deployment(module_project):
    module_project.write("graph.py", GRAPH)
    args = [f"--Api.max-running={LIMIT}", "--Api.served_model_name=first"]
    with module_project.serve("graph:Api", args=args).result() as deployment:
        yield deployment


@pytest.fixture(scope="module")
def url(deployment):
    return deployment.urls["Api"]


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=SLOW) as client:
        yield client


def messages(*words):
    return [{"role": "user", "content": " ".join(words)}]


def chat(client, text, **fields):
    return client.chat.completions.create(model="first", messages=messages(text), **fields)


class Raw:
    """A connection that sends one request and may read only a part of the answer."""

    def __init__(self, url, path, body):
        address = urlsplit(url)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.socket = socket.create_connection((address.hostname, address.port), timeout=SLOW)
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(data)}\r\n\r\n"
        self.socket.sendall(head.encode() + data)

    def until(self, mark):
        data = b""
        while mark not in data:
            more = self.socket.recv(65536)
            assert more, f"the answer ended before {mark!r}: {data!r}"
            data += more
        return data

    def answer(self):
        """(status, headers, the body as JSON)."""
        with closing(self.socket.makefile("rb")) as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), headers, json.loads(body)

    def close(self):
        self.socket.close()


def ask(url, body, path="/v1/chat/completions"):
    with closing(Raw(url, path, body)) as raw:
        return raw.answer()


def test_a_chat_is_answered(client):
    answer = chat(client, "one two")

    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content == "one two "
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (2, 2, 4)
    assert answer.usage.prompt_tokens_details.cached_tokens == 1


def test_a_chat_is_streamed_with_its_usage_at_the_end(client):
    chunks = list(chat(client, "one two", stream=True, stream_options={"include_usage": True}))

    assert [c.choices[0].delta.role for c in chunks[:2]] == ["assistant", None]
    assert [c.choices[0].delta.content for c in chunks[1:3]] == ["one ", "two "]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 4
    assert {c.usage for c in chunks[:-1]} == {None}


def test_a_stream_has_no_usage_unless_requested(client):
    assert all(chunk.usage is None and chunk.choices for chunk in chat(client, "one", stream=True))


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_is_completed(client, stream):
    answer = client.completions.create(model="first", prompt="one two", stream=stream)
    chunks = list(answer) if stream else [answer]

    assert "".join(chunk.choices[0].text for chunk in chunks) == "one two "
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [([1, 2], ["1 2 "]), (["a", "b c"], ["a ", "b c "]), ([[1], [2, 3]], ["1 ", "2 3 "])],
    ids=["tokens", "texts", "lists of tokens"],
)
def test_each_prompt_has_a_choice(client, prompt, texts):
    answer = client.completions.create(model="first", prompt=prompt)

    assert [choice.text for choice in answer.choices] == texts
    assert [choice.index for choice in answer.choices] == list(range(len(texts)))


def test_a_completion_has_at_most_16_tokens_by_default(client):
    answer = client.completions.create(model="first", prompt="w " * 40)

    assert answer.usage.completion_tokens == 16


def test_choices_have_increasing_seeds(client):
    answer = chat(client, "x", n=3, seed=7)

    assert [choice.message.content for choice in answer.choices] == ["seed7 ", "seed8 ", "seed9 "]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1, 3)


def test_choices_are_streamed_concurrently(client):
    texts = ["", "", ""]
    for chunk in chat(client, "x", n=3, seed=7, stream=True):
        choice = chunk.choices[0]
        texts[choice.index] += choice.delta.content or ""

    assert texts == ["seed7 ", "seed8 ", "seed9 "]


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_of_a_chat(client, stream):
    answer = chat(client, "one two", logprobs=True, top_logprobs=2, stream=stream)
    chunks = list(answer) if stream else [answer]
    logprobs = [one for chunk in chunks if chunk.choices[0].logprobs for one in chunk.choices[0].logprobs.content]

    assert [(one.token, one.logprob, len(one.top_logprobs)) for one in logprobs] == [
        ("one ", -0.5, 2),
        ("two ", -0.5, 2),
    ]
    assert bytes(logprobs[0].bytes) == b"one "


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_of_a_completion(client, stream):
    answer = client.completions.create(model="first", prompt="one two", logprobs=1, stream=stream)
    logprobs = [c.choices[0].logprobs for c in (list(answer) if stream else [answer]) if c.choices[0].logprobs]

    assert [token for one in logprobs for token in one.tokens] == ["one ", "two "]
    assert [offset for one in logprobs for offset in one.text_offset] == [0, 4]
    assert logprobs[0].top_logprobs[0] == {"one ": -0.5}


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called(client, stream):
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    answer = chat(client, "x", tools=tools, stream=stream)
    choices = [chunk.choices[0] for chunk in (answer if stream else [answer])]
    calls = [call for c in choices for call in ((c.delta if stream else c.message).tool_calls or [])]

    assert [call.function.name for call in calls] == ["look"]
    assert [getattr(call, "index", None) for call in calls] == [0 if stream else None]
    assert choices[-1].finish_reason == "tool_calls"
    assert chat(client, "x", tools=tools, tool_choice="none").choices[0].message.content == "x "


def test_texts_are_embedded(client):
    answer = client.embeddings.create(model="first", input=["a bb", "ccc"])
    assert [one.embedding for one in answer.data] == [[1.0, 2.0], [3.0]]
    assert answer.usage.prompt_tokens == 3

    plain = client.embeddings.create(model="first", input="a bb", encoding_format="float")
    assert plain.data[0].embedding == [1.0, 2.0]


def test_each_model_is_served_by_the_processor_that_has_it(client):
    assert [model.id for model in client.models.list()] == ["first", "second"]
    assert client.models.retrieve("second").model_extra["max_model_len"] == 1024
    assert client.chat.completions.create(model="second", messages=messages("hello")).model == "second"


def test_an_unknown_model_is_an_error_that_lists_the_models(client):
    for call in (
        lambda: client.chat.completions.create(model="third", messages=messages("x")),
        lambda: client.models.retrieve("third/one"),
    ):
        with pytest.raises(openai.NotFoundError, match="first, second") as error:
            call()
        assert error.value.code == "model_not_found"


MODEL = {"model": "first", "messages": messages("x")}
BAD = {
    "invalid JSON": (b'{"model": ', "not valid JSON", "invalid_json", None),
    "invalid UTF-8": (b'{"model": "\xff"}', "not valid JSON", "invalid_json", None),
    "a list": (b"[]", "expected `object`", "invalid_value", None),
    "no messages": ({"model": "first"}, "messages", "missing_required_parameter", "messages"),
    "a prompt over the context": (
        MODEL | {"messages": messages("long")},
        "ask less",
        "context_length_exceeded",
        "messages",
    ),
    "max_tokens of a million": (MODEL | {"max_tokens": 10**6}, "1024", "context_length_exceeded", "max_tokens"),
    "a thousand stops": (MODEL | {"stop": ["x"] * 1000}, "<= 16", "invalid_value", "stop"),
    "a stop of a million": (MODEL | {"stop": "x" * 10**6}, "<= 256", "invalid_value", "stop"),
    "a temperature of 3": (MODEL | {"temperature": 3}, "<= 2.0", "invalid_value", "temperature"),
    "a misspelt parameter": (
        MODEL | {"temprature": 1},
        "did you mean 'temperature'",
        "unknown_parameter",
        "temprature",
    ),
    "a role that is a number": (MODEL | {"messages": [{"role": 1}]}, "needs a role", None, "messages[0].role"),
    "a forced tool without tools": (
        MODEL | {"tool_choice": "required"},
        "needs a tool",
        "invalid_value",
        "tool_choice",
    ),
    "a forced tool that the model does not support": (
        MODEL | {"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "look"}}]},
        "does not support forced calls",
        "unsupported_parameter",
        "tool_choice",
    ),
    "logprobs that the model does not support": (
        MODEL | {"model": "second", "logprobs": True},
        "does not support",
        "unsupported_parameter",
        "logprobs",
    ),
    "a schema that the model does not support": (
        MODEL | {"model": "second", "response_format": {"type": "json_object"}},
        "does not support",
        "unsupported_parameter",
        "response_format",
    ),
}


@pytest.mark.parametrize(("body", "message", "code", "param"), BAD.values(), ids=BAD)
def test_invalid_input_is_a_400_that_names_the_fault(url, deployment, body, message, code, param):
    status, _, answer = ask(url, body)

    error = answer["error"]
    assert (status, error["type"], error["code"], error["param"]) == (400, "invalid_request_error", code, param)
    assert message in error["message"]
    assert len(error["message"]) < 1000
    assert deployment.First.wait_for_running(0).result(SLOW) == 0


def test_a_body_over_the_limit_is_refused(url):
    with closing(Raw(url, "/v1/completions", b"")) as raw:
        raw.close()
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=SLOW) as large:
        large.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n")
        assert large.recv(100).startswith(b"HTTP/1.1 413")


def test_a_failure_reveals_no_internal_details(client):
    with pytest.raises(openai.InternalServerError) as error:
        chat(client, "fail")

    assert error.value.status_code == 500
    assert "secret" not in str(error.value)


def test_a_failure_before_the_first_token_of_a_stream_has_its_status(client):
    with pytest.raises(openai.InternalServerError):
        chat(client, "fail", stream=True)


def test_a_failure_during_a_stream_is_its_last_event(client):
    stream = chat(client, "one crash", stream=True)
    texts = []

    def take():
        texts.extend(chunk.choices[0].delta.content for chunk in stream)

    with pytest.raises(openai.APIError, match="failed to answer"):
        take()
    assert "one " in texts


@pytest.mark.parametrize(
    ("words", "stream", "read"),
    [("wait", True, b""), ("one hang", True, b"one "), ("one hang", False, b"")],
    ids=["before the first token", "in the stream", "while nothing is streamed"],
)
def test_a_closed_connection_frees_its_slot(url, deployment, client, words, stream, read):
    for _ in range(2 * LIMIT):
        with closing(Raw(url, "/v1/chat/completions", MODEL | {"messages": messages(words), "stream": stream})) as raw:
            deployment.First.wait_for_running(1).result(SLOW)
            raw.until(read)
        assert deployment.First.wait_for_running(0).result(SLOW) == 0

    assert chat(client, "free", n=LIMIT).choices[-1].message.content == "free "


def test_a_closed_connection_ends_all_choices(url, deployment):
    body = MODEL | {"messages": messages("one hang"), "stream": True, "n": LIMIT}
    with closing(Raw(url, "/v1/chat/completions", body)) as raw:
        deployment.First.wait_for_running(LIMIT).result(SLOW)
        raw.until(b"one ")

    assert deployment.First.wait_for_running(0).result(SLOW) == 0


def test_requests_over_the_limit_get_429_and_retry_after(url, deployment, client):
    with ExitStack() as stack:
        for _ in range(LIMIT):
            raw = Raw(url, "/v1/chat/completions", MODEL | {"messages": messages("wait")})
            stack.enter_context(closing(raw))
        deployment.First.wait_for_running(LIMIT).result(SLOW)
        status, headers, answer = ask(url, MODEL)
        with pytest.raises(openai.RateLimitError):
            chat(client, "x")
    assert (status, answer["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(headers["retry-after"]) > 0

    deployment.First.wait_for_running(0).result(SLOW)
    assert chat(client, "free").choices[0].message.content == "free "


def test_more_choices_than_the_limit_are_a_400(url):
    status, _, answer = ask(url, MODEL | {"n": LIMIT + 1})

    assert (status, answer["error"]["param"]) == (400, "n")


def test_health_and_metrics(client, url):
    chat(client, "one two")

    of = '{endpoint="chat_completions",model="first"'
    health = client.with_options(max_retries=0)._client.get(f"{url}/health")
    metrics = ""
    while (
        f"dynamo_frontend_inflight_requests{of}}} 0" not in metrics
    ):  # a request ends after its client has received the answer
        metrics = client._client.get(f"{url}/metrics").text

    assert (health.status_code, health.json()["status"]) == (200, "healthy")
    for pattern in (
        rf'dynamo_frontend_requests_total{of},status="200"}} \d',
        rf"dynamo_frontend_output_tokens_total{of}}} \d",
        rf"dynamo_frontend_cached_tokens_total{of}}} \d",
        rf"dynamo_frontend_time_to_first_token_seconds_count{of}}} \d",
    ):
        assert re.search(pattern.replace("{e", r"\{e"), metrics), pattern


def test_the_curl_line_of_every_route_works(deployment):
    routes = deployment.routes("Api").result()
    assert {route.name for route in routes} >= {
        "POST /v1/chat/completions",
        "POST /v1/embeddings",
        "GET /v1/models/{name}",
    }
    for route in routes:
        ran = subprocess.run(["bash", "-c", f"{route.curl} -sS --fail-with-body"], capture_output=True, text=True)
        assert ran.returncode == 0, (route.curl, ran.stdout, ran.stderr)
