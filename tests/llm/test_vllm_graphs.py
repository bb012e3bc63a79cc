"""The four graphs, served with vLLM and the tiny model: answers, remote prefill, and lost workers."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import tempfile
from contextlib import aclosing
from pathlib import Path

import jsonschema
import openai
import pytest

pytest.importorskip("vllm")

from dynamo_nb.llm.graphs import folder
from dynamo_nb.llm.messages import Sampling, TextRequest
from dynamo_nb.sdk.portal import portal
from dynamo_nb.supervisor.gpus import inventory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BOUND = 240
MODEL = "tiny"
SHARE = 0.5 if inventory().gpus else 0  # of a GPU for each engine, so that two fit on it
LENGTHS = (70, 97, 161, 200, 333, 500)  # tokens of prompts; all are long enough for remote prefill
BLOCK = 32
ANSWER = 40
CHAT = [{"role": "user", "content": "What is the largest planet?"}]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "large": {"type": "boolean"}},
    "required": ["name", "large"],
    "additionalProperties": False,
}
KILLS = int(os.environ.get("DYNAMO_TEST_KILLS", "3"))  # workers killed during answers; each takes seconds to restart
ANSWERS = 17  # answers in progress at each kill


def prompt(length, first=0):
    """A list of tokens, different for each `first`."""
    return [6 + (length * 31 + first * 57 + place * 7) % 500 for place in range(length)]


def text_request(tokens, name="r", answer=ANSWER):
    sampling = Sampling(max_tokens=answer, temperature=0.0, ignore_eos=True)
    return TextRequest(request_id=name, model=MODEL, prompt=tokens, sampling=sampling)


def text(deployment, request):
    return "".join(delta.text for delta in deployment.Processor.generate(request).result(timeout=BOUND))


def served(project, name, *args):
    """Serves the graph `name` with its configuration."""
    engines = ["VllmWorker", "PrefillWorker"][: 2 if name.startswith("disagg") else 1]
    args = [f"--{engine}.ServiceArgs.resources.gpu={SHARE}" for engine in engines] + list(args)
    files = [folder / f"{name}.yaml", folder / ("tiny_disagg.yaml" if len(engines) == 2 else "tiny.yaml")]
    args.append(f"--Processor.served_model_name={MODEL}")
    return project.serve(f"dynamo_nb.llm.graphs.{name}:Frontend", *files, args=args).result(timeout=BOUND)


@pytest.fixture(scope="module")
def agg(module_project):
    with tempfile.TemporaryDirectory(prefix="v", dir="/tmp") as temporary, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", temporary)  # where vLLM creates its sockets by default
        with served(module_project, "agg") as deployment:
            yield deployment
        assert not [file for file in Path(temporary).iterdir() if file.is_socket()], "an engine has left sockets"


@pytest.fixture(scope="module")
def whole(agg):
    """The answers of a worker without remote prefill, by the length of the prompt."""
    return {length: text(agg, text_request(prompt(length))) for length in LENGTHS}


@pytest.fixture
def client(agg):
    with openai.OpenAI(base_url=f"{agg.urls['Frontend']}/v1", api_key="-", max_retries=0) as client:
        yield client


# --- agg ---------------------------------------------------------------------------------------------------------


def test_a_chat_has_the_same_answer_as_a_whole_and_as_a_stream(client):
    chat = {"model": MODEL, "messages": CHAT, "max_tokens": 24, "temperature": 0}
    answer = client.chat.completions.create(**chat)
    *pieces, last = client.chat.completions.create(**chat, stream=True, stream_options={"include_usage": True})
    assert "".join(p.choices[0].delta.content or "" for p in pieces) == answer.choices[0].message.content
    assert last.usage.completion_tokens == answer.usage.completion_tokens <= 24
    assert answer.usage.prompt_tokens > 8


def test_choices_seeds_stops_and_log_probabilities(client):
    chat = {"model": MODEL, "messages": CHAT, "max_tokens": 16}
    one = client.chat.completions.create(**chat, seed=7, n=2, logprobs=True, top_logprobs=3)
    again = client.chat.completions.create(**chat, seed=7, n=2)
    texts = [choice.message.content for choice in one.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert texts[0] != texts[1]
    assert all(len(token.top_logprobs) == 3 for token in one.choices[0].logprobs.content)
    greedy = client.chat.completions.create(**chat, temperature=0).choices[0].message.content
    cut = greedy[5:8]
    stopped = client.chat.completions.create(**chat, temperature=0, stop=[cut])
    assert stopped.choices[0].message.content == greedy.partition(cut)[0]
    assert stopped.choices[0].finish_reason == "stop"


def test_biases_and_a_choice_of_answers_reach_the_engine(client):
    chat = {"model": MODEL, "messages": CHAT, "max_tokens": 5}
    forced = client.chat.completions.create(**chat, logit_bias={"77": 100}, logprobs=True)
    assert len({token.token for token in forced.choices[0].logprobs.content}) == 1
    choice = {"structured_outputs": {"choice": ["Jupiter", "Mars"]}}
    answer = client.chat.completions.create(**chat | {"max_tokens": 20}, extra_body=choice)
    assert answer.choices[0].message.content in choice["structured_outputs"]["choice"]


def test_an_answer_follows_a_json_schema(client):
    form = {"type": "json_schema", "json_schema": {"name": "planet", "schema": SCHEMA}}
    answer = client.chat.completions.create(model=MODEL, messages=CHAT, max_tokens=200, response_format=form, seed=1)
    jsonschema.validate(json.loads(answer.choices[0].message.content), SCHEMA)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": [10] * 2048}, "the prompt has 2048 tokens"),
        ({"max_tokens": 10**6}, "max_tokens is too large"),
        ({"prompt": [10] * 2000, "max_tokens": 100}, "leaves 48 for the answer"),
        ({"prompt": [511, 512]}, "token id 512 is not in"),
        ({"prompt": ""}, "prompt is empty"),
        ({"stop": ["x" * n for n in range(1, 18)]}, "stop"),
        ({"model": "other"}, "does not exist"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 7}}}}, "rejected"),
    ],
)
def test_invalid_requests_get_an_error_and_hold_no_blocks(agg, client, fields, message):
    with pytest.raises(openai.APIStatusError, match=message) as raised:
        client.completions.create(model=MODEL, prompt="a", extra_body=fields)
    assert raised.value.status_code in {400, 404}
    assert portal.run(idle(agg), BOUND).used_blocks == 0


async def idle(deployment):
    """The load of the worker when it is idle."""
    async with aclosing(aiter(deployment.VllmWorker.events())) as events:
        async for event in events:
            if event.load is not None and not event.load.running and not event.load.waiting:
                return event.load
    return None


def test_a_closed_connection_frees_its_slot(agg):
    async def gone():
        url = f"{agg.urls['Frontend']}/v1"
        async with (
            openai.AsyncOpenAI(base_url=url, api_key="-") as client,
            aclosing(aiter(agg.VllmWorker.events())) as events,
        ):
            answer = await client.completions.create(
                model=MODEL, prompt="a", max_tokens=2000, stream=True, extra_body={"ignore_eos": True}
            )
            await anext(aiter(answer))
            await answer.close()
            async for event in events:
                if event.load is not None and not event.load.running:
                    return event.load
        return None

    assert portal.run(gone(), BOUND).used_blocks == 0


# --- agg_router --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def agg_router(module_project):
    with served(module_project, "agg_router") as deployment:
        yield deployment


def test_a_router_finds_the_worker_with_the_blocks_by_its_events(agg_router, whole):
    for length in LENGTHS:
        assert text(agg_router, text_request(prompt(length))) == whole[length]
    for length in LENGTHS:
        first, *_ = agg_router.Processor.generate(text_request(prompt(length), "again")).result(timeout=BOUND)
        assert first.cached == (length - 1) // BLOCK * BLOCK
    trace = agg_router.trace(agg_router.Processor.generate(text_request(prompt(500), "t"))).result(timeout=BOUND)
    (notes,) = [span.notes for span in trace.spans if "scores" in span.notes]
    best, other = notes["scores"]
    assert best["worker"] == notes["chosen"] != other["worker"]
    assert (best["overlap"], other["overlap"]) == (500 // BLOCK, 0)


@pytest.mark.timeout(BOUND + 60 * KILLS)
def test_answers_are_unchanged_when_their_worker_is_killed(agg_router, figures):
    """The answers are at different tokens when the worker is killed, and all are the same as without the kill."""
    choose = random.Random(1)
    prompts = [prompt(40 + 3 * number, number) for number in range(ANSWERS)]
    expected = [text(agg_router, text_request(tokens, answer=400)) for tokens in prompts]

    async def answers(kill):
        begun = asyncio.Semaphore(0)
        after = [choose.randrange(1, 200) for _ in prompts]

        async def answer(number):
            found, tokens = "", 0
            async for delta in agg_router.Processor.generate(text_request(prompts[number], f"k{kill}-{number}", 400)):
                found, tokens = found + delta.text, tokens + delta.tokens
                if tokens - delta.tokens < after[number] <= tokens:
                    begun.release()
            return found

        tasks = [asyncio.create_task(answer(number)) for number in range(len(prompts))]
        for _ in range(choose.randrange(1, len(prompts))):
            await begun.acquire()
        os.kill(choose.choice(sorted(ready(agg_router, "VllmWorker"))), signal.SIGKILL)
        return await asyncio.gather(*tasks)

    for kill in range(KILLS):
        before = ready(agg_router, "VllmWorker")
        assert portal.run(answers(kill), BOUND) == expected
        portal.run(replaced(agg_router, "VllmWorker", before), BOUND)
    edges = agg_router.metrics().result(timeout=BOUND)["edges"]
    calls = [edge for edge in edges if edge["target"].endswith("VllmWorker") and edge["endpoint"] == "generate"]
    lost = sum(sum(edge["errors"].values()) for edge in calls)
    assert lost >= KILLS
    figures(kills=KILLS, answers=KILLS * len(prompts), moved=lost)


def ready(deployment, service):
    """The processes of the ready workers."""
    return {w.pid for w in deployment.status.services[service].workers if w.state == "ready"}


async def replaced(deployment, service, before):
    """Returns when as many workers are ready as before, and not the same ones."""
    while len(now := ready(deployment, service)) < len(before) or now == before:  # noqa: ASYNC110 (there is no event)
        await asyncio.sleep(0.05)


# --- disagg ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["disagg", "disagg_router"])
def disagg(request, module_project):
    with served(module_project, request.param) as deployment:
        yield deployment


def test_answers_after_remote_prefill_equal_those_of_one_worker(disagg, whole):
    for length in LENGTHS:
        trace = disagg.trace(disagg.Processor.generate(text_request(prompt(length, 1)))).result(timeout=BOUND)
        assert [span.notes["prefill"] for span in trace.spans if "prefill" in span.notes] == ["remote"]
        deltas = disagg.Processor.generate(text_request(prompt(length))).result(timeout=BOUND)
        assert "".join(delta.text for delta in deltas) == whole[length]
        # Transferred blocks count as cached. vLLM's connector misses them if one token follows the last full block.
        assert deltas[0].cached == (0 if length % BLOCK == 1 else (length - 1) // BLOCK * BLOCK)


def test_a_short_prompt_is_computed_locally(disagg):
    trace = disagg.trace(disagg.Processor.generate(text_request(prompt(50, 2)))).result(timeout=BOUND)
    assert [span.notes["prefill"] for span in trace.spans if "prefill" in span.notes] == ["local"]


def test_answers_are_unchanged_when_their_prefill_worker_is_killed(disagg, whole):
    """Some prompts are being computed, some are queued; the new prefill worker, or the worker itself, computes them."""
    prompts = [prompt(length, 3) for length in LENGTHS]
    expected = [text(disagg, text_request(tokens)) for tokens in prompts[:2]]

    async def answers():
        tasks = [asyncio.create_task(answer(disagg, tokens)) for tokens in [*prompts, *map(prompt, LENGTHS)]]
        os.kill(*before, signal.SIGKILL)
        return await asyncio.gather(*tasks)

    before = ready(disagg, "PrefillWorker")
    found = portal.run(answers(), BOUND)
    assert found[:2] == expected
    assert found[len(prompts) :] == [whole[length] for length in LENGTHS]
    portal.run(replaced(disagg, "PrefillWorker", before), BOUND)


async def answer(deployment, tokens):
    return "".join(
        [delta.text async for delta in deployment.Processor.generate(text_request(tokens, str(len(tokens))))]
    )
