"""The router, served with workers that echo."""

import os
import signal
from contextlib import aclosing

import pytest

from dynamo_nb.llm.messages import Sampling, TextRequest, TokenRequest
from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

BOUND = 60
GRAPH = """\
from dynamo_nb.llm import EchoWorker, Frontend, Processor, Router

Frontend.link(Processor).link(Router).link(EchoWorker)
"""
BLOCK = 8
PROMPTS = [[n + 10] * 64 for n in range(6)]


@pytest.fixture(scope="module", params=["events", "approx"])
def graph(request, module_project):
    module_project.write("routed.py", GRAPH)
    args = ["--EchoWorker.ServiceArgs.workers=2", f"--EchoWorker.block_size={BLOCK}", "--Router.policy=overlap"]
    args += [f"--Router.router_mode={request.param}", "--Processor.served_model_name=tiny"]
    with module_project.serve("routed:Frontend", args=args).result(timeout=BOUND) as deployment:
        yield deployment


def asked(tokens, name):
    return TokenRequest(request_id=name, tokens=tokens, sampling=Sampling(max_tokens=BLOCK))


def answered(graph, prompt, name):
    """The text request's deltas through the whole graph."""
    request = TextRequest(request_id=name, model="tiny", prompt=prompt, sampling=Sampling(max_tokens=BLOCK))
    return graph.Processor.generate(request).result(timeout=BOUND)


async def placed(graph, prompt, name, avoid=()):
    async with aclosing(aiter(graph.Router.place(asked(prompt, name), list(avoid)))) as places:
        return await anext(places)


def test_a_prompt_goes_where_its_blocks_are(graph):
    for n, prompt in enumerate(PROMPTS):
        answered(graph, prompt, f"first {n}")
    for n, prompt in enumerate(PROMPTS):
        (first, *_) = answered(graph, prompt, f"again {n}")
        assert first.cached > 0
        place = portal.run(placed(graph, prompt, f"once more {n}"), BOUND)
        assert place.overlap == len(prompt) // BLOCK
    assert graph.Router.stats().result(timeout=BOUND)["hit_rate"] > 0.5


def test_a_worker_to_avoid_is_avoided_where_there_is_another(graph):
    place = portal.run(placed(graph, PROMPTS[0], "avoid"), BOUND)
    other = portal.run(placed(graph, PROMPTS[0], "avoid", [place.instance_id]), BOUND)
    assert other.instance_id != place.instance_id


def test_the_scores_are_on_the_trace(graph):
    request = TextRequest(request_id="t", model="tiny", prompt=PROMPTS[1], sampling=Sampling(max_tokens=4))
    trace = graph.trace(graph.Processor.generate(request)).result(timeout=BOUND)
    (notes,) = [span.notes for span in trace.spans if "scores" in span.notes]
    assert {"worker", "score", "overlap"} <= set(notes["scores"][0])
    assert notes["scores"][0]["worker"] == notes["chosen"]


def test_the_blocks_of_a_killed_worker_vanish_with_it(graph):
    before = portal.run(placed(graph, PROMPTS[2], "before"), BOUND)
    for worker in graph.state["services"]["EchoWorker"]["workers"]:
        os.kill(worker["pid"], signal.SIGKILL)
    answered(graph, PROMPTS[3], "after")
    assert before.overlap > 0

    async def elsewhere():
        """Without events the router hears of a lost worker when its lease ends."""
        while (after := await placed(graph, PROMPTS[2], "after")).instance_id == before.instance_id:
            pass
        return after

    assert portal.run(elsewhere(), BOUND).overlap == 0
