"""One frontend with two processors, one of which is down: the model of the other one is still served."""

import asyncio
import os
import signal

import openai
import pytest
from echo_graphs import BOUND, WorkerLoads, poll_until
from http_client import COMPLETION, echoed, open_request, send

from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

MODELS, HEALTH = "/v1/models", "/health"
PROMPT, COUNT = "two of them", 200
TEXT, _ = echoed(PROMPT, COUNT)
GRAPH = """\
from dynamo_nb import depends, service
from dynamo_nb.llm import EchoWorker, Frontend, Processor


@service(dynamo={"namespace": "dynamo"})
class Small(Processor):
    pass


@service(dynamo={"namespace": "dynamo"})
class Large(Processor):
    pass


@service
class Api(Frontend):
    processor = depends(Small)
    large = depends(Large)


@service(dynamo={"namespace": "dynamo"})
class Echo(EchoWorker):
    pass


Api.link(Small).link(Echo)
Api.link(Large).link(Echo)
"""


@pytest.fixture
def graph(project):
    project.write("two.py", GRAPH)
    args = [
        "--Small.served_model_name=small",
        "--Large.served_model_name=large",
        "--Echo.tokens_per_second=400",
        "--Echo.block_size=8",
    ]
    with project.serve("two:Api", args=args).result(timeout=BOUND) as deployment:
        yield deployment


def body(model, **fields):
    return {"model": model, "prompt": PROMPT, "max_tokens": COUNT, **fields}


async def status_of(graph, model):
    return (await send(graph.urls["Api"], COMPLETION, body(model, max_tokens=1)))[0]


async def names(graph):
    _, _, answer = await send(graph.urls["Api"], MODELS, b"", method="GET")
    return {model["id"] for model in answer["data"]}


async def is_served(graph, model):
    return await status_of(graph, model) == 200


async def begun(request):
    """The first event of a stream, and the others."""
    assert (await request.head())[0] == 200
    events = request.events()
    return await anext(events), events


def test_a_killed_processor_ends_only_its_own_streams(graph):
    async def main():
        url = graph.urls["Api"]
        async with (
            open_request(url, COMPLETION, body("small", stream=True)) as small,
            open_request(url, COMPLETION, body("large", stream=True)) as large,
            WorkerLoads.of(graph) as loads,
        ):
            first, events = await begun(small)
            _, lost = await begun(large)
            (worker,) = graph.status.services["Large"].workers
            os.kill(worker.pid, signal.SIGKILL)
            received = [first, *[event async for event in events]], [event async for event in lost]
            await loads.idle()
        await poll_until(lambda: is_served(graph, "large"))
        return received

    (*events, end), lost = portal.run(main(), BOUND)
    assert end == "[DONE]"
    assert "".join(event["choices"][0]["text"] for event in events) == TEXT
    assert lost[-1]["error"]["type"] == "server_error"


def test_one_model_is_served_while_the_other_is_down_also_by_a_new_frontend(graph):
    async def main():
        assert await names(graph) == {"small", "large"}
        await graph.scale(Large=0)
        assert [await status_of(graph, model) for model in ("small", "large")] == [200, 503]
        assert await names(graph) == {"small", "large"}

        await graph.restart("Api")
        assert [await status_of(graph, model) for model in ("small", "large")] == [200, 503]
        assert await names(graph) == {"small"}
        assert (await send(graph.urls["Api"], HEALTH, b"", method="GET"))[0] == 200

        await graph.scale(Large=1)
        await poll_until(lambda: is_served(graph, "large"))
        assert await names(graph) == {"small", "large"}

    portal.run(main(), BOUND)


def test_the_frontend_is_unhealthy_while_all_processors_are_down(graph):
    async def is_unhealthy():
        return (await send(graph.urls["Api"], HEALTH, b"", method="GET"))[0] == 503

    async def main():
        await graph.scale(Small=0, Large=0)
        with openai.OpenAI(base_url=f"{graph.urls['Api']}/v1", api_key="-", max_retries=0) as client:
            error = await asyncio.to_thread(refused, client)
        await poll_until(is_unhealthy)
        await graph.scale(Small=1)
        await poll_until(lambda: is_served(graph, "small"))
        return error

    assert portal.run(main(), BOUND).status_code == 503


def refused(client):
    with pytest.raises(openai.InternalServerError) as raised:
        client.completions.create(model="small", prompt=PROMPT)
    return raised.value
