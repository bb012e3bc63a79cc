"""Prompts in answers: `echo`, with log probabilities and without an answer, and `prompt_logprobs`."""

import json
from contextlib import aclosing

import pytest
from local_graph import Holder, client_of, echo_client
from msgspec.structs import replace

from dynamo_nb.errors import EngineError
from dynamo_nb.llm import EchoEngine
from dynamo_nb.llm.engines.echo.options import EchoOptions
from dynamo_nb.llm.messages import Sampling, TokenRequest
from dynamo_nb.llm.text.tokenizer import Tokenizer
from dynamo_nb.llm.tiny import tiny_model

pytestmark = pytest.mark.asyncio

COMPLETION = "/v1/completions"
TEXT = "hello there"
TOKENS = [5, 0, 267, 81]  # the second one is special


class ScoringEngine(EchoEngine):
    """Reports log probabilities of prompts; fails after the first delta of as many requests as `failures`."""

    def __init__(self, failures=0):
        super().__init__(EchoOptions(model=str(tiny_model())))
        self.failures, self.received = failures, []

    @property
    def info(self):
        own = super().info
        return replace(own, features=(*own.features, "prompt_logprobs"))

    async def generate(self, request):
        most = request.sampling.prompt_logprobs
        self.received.append(most)
        plain = replace(request, sampling=replace(request.sampling, prompt_logprobs=None))
        async with aclosing(super().generate(plain)) as deltas:
            async for delta in deltas:
                if most is not None:
                    others = [(7, -0.5, 1), (9, -0.75, 2)][:most]
                    delta.prompt_logprobs = [[(token, -1.5, 3), *others] for token in request.tokens[1:]]
                    most = None
                yield delta
                if self.failures:
                    self.failures -= 1
                    raise EngineError("lost")


def body(**fields):
    return {"model": "tiny", "prompt": TEXT, "max_tokens": 4, **fields}


def texts_of(answer, stream=False):
    if not stream:
        return [choice["text"] for choice in answer.json()["choices"]]
    texts = {}
    for line in answer.text.split("\n\n"):
        if line.startswith("data: {"):
            (choice,) = json.loads(line.removeprefix("data: "))["choices"]
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    return [texts[index] for index in sorted(texts)]


def prompts_of(prompt):
    if prompt is TOKENS:
        return [Tokenizer(str(tiny_model())).decode_all(TOKENS)]
    return [prompt] if isinstance(prompt, str) else prompt


CASES = {
    "a text": {},
    "tokens": {"prompt": TOKENS},
    "several": {"prompt": ["one", "two three"], "n": 2},
    "a stop text in the prompt": {"stop": ["there"]},
    "the prompt alone": {"max_tokens": 0},
    "several alone": {"prompt": ["one", "two"], "max_tokens": 0},
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
async def test_an_echo_is_the_prompt_and_then_the_answer(fields, stream):
    async with echo_client() as client:
        given = body(**fields, stream=stream)
        plain = await client.post(COMPLETION, json=given if given["max_tokens"] else given | {"max_tokens": 1})
        answer = await client.post(COMPLETION, json=given | {"echo": True})
    shown = [text for text in prompts_of(given["prompt"]) for _ in range(given.get("n", 1))]
    answers = texts_of(plain, stream) if given["max_tokens"] else [""] * len(shown)

    assert texts_of(answer, stream) == [text + rest for text, rest in zip(shown, answers, strict=True)]


async def test_the_prompt_alone_has_no_tokens_of_an_answer():
    async with echo_client() as client:
        answer = (await client.post(COMPLETION, json=body(echo=True, max_tokens=0))).json()
        plain = (await client.post(COMPLETION, json=body())).json()

    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 0
    assert answer["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]


@pytest.mark.parametrize("fields", [{"echo": True, "logprobs": 0}, {"prompt_logprobs": 1}], ids=str)
async def test_log_probabilities_of_prompts_are_refused_by_an_engine_without_them(fields):
    async with echo_client() as client:
        answer = await client.post(COMPLETION, json=body(**fields))

    assert answer.status_code == 400
    assert "does not support log probabilities of prompts" in answer.json()["error"]["message"]


@pytest.mark.parametrize("most", [0, 4])
@pytest.mark.parametrize("failures", [0, 2])
async def test_an_echo_has_the_log_probabilities_of_the_prompt_once(most, failures):
    """Also if workers are lost, which have reported them already."""
    engine = ScoringEngine(failures)
    await engine.start()
    async with client_of(engine) as client:
        given = body(prompt=TOKENS, max_tokens=most, echo=True, logprobs=1, prompt_logprobs=2, temperature=0)
        (choice,) = (await client.post(COMPLETION, json=given)).json()["choices"]
    await engine.stop()

    pieces = [Tokenizer(str(tiny_model())).piece(token) for token in TOKENS]
    assert choice["logprobs"]["tokens"][:4] == [text for text, _ in pieces]
    assert choice["logprobs"]["token_logprobs"] == [None, -1.5, -1.5, -1.5] + [0.0] * most
    assert choice["logprobs"]["top_logprobs"][0] is None
    assert [sorted(top.values()) for top in choice["logprobs"]["top_logprobs"][1:4]] == [[-1.5, -0.5]] * 3
    first, *rest = choice["prompt_logprobs"]
    assert first is None
    assert [[*entry] for entry in rest] == [[str(token), "7", "9"] for token in TOKENS[1:]]
    assert rest[0]["7"]["rank"] == 1
    assert engine.received == [2, *[None] * failures][: 1 + (failures if most else 0)]


async def test_the_log_probabilities_of_a_chat_are_beside_its_choices():
    engine = ScoringEngine()
    await engine.start()
    async with client_of(engine) as client:
        given = {
            "model": "tiny",
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": 2,
            "prompt_logprobs": 0,
        }
        answer = (await client.post("/v1/chat/completions", json=given)).json()
    await engine.stop()

    assert len(answer["prompt_logprobs"]) == answer["usage"]["prompt_tokens"]
    assert "prompt_logprobs" not in answer["choices"][0]


async def test_a_prompt_whose_log_probabilities_are_needed_is_computed_where_the_answer_is():
    worker = Holder(ScoringEngine())
    request = TokenRequest(request_id="r", tokens=TOKENS, sampling=Sampling(prompt_logprobs=0))

    assert await worker._prefilled(request, None) is request
