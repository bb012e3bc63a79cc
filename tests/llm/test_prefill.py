"""Remote prefill: which worker computes a prompt, and what happens when a worker or a client goes."""

import asyncio

import pytest
from echo_graphs import BOUND, poll_until

from dynamo_nb.llm.messages import Sampling, TokenRequest
from dynamo_nb.runtime import NatsServer

pytestmark = pytest.mark.slow

GRAPH = """\
import asyncio
from pathlib import Path

from dynamo_nb import dynamo_endpoint, service
from dynamo_nb.errors import EngineError
from dynamo_nb.llm import EchoEngine, EchoPrefillWorker, EchoWorker


@service(dynamo={"namespace": "dynamo"})
class Pre(EchoPrefillWorker):
    def __init__(self, gate: str = "", broken: bool = False, block_size: int = 8) -> None:
        super().__init__(block_size=block_size)
        self.gate, self.broken, self.started = gate, broken, 0

    def make_engine(self):
        engine, compute = super().make_engine(), None

        async def prefill(request):
            self.started += 1
            if self.broken:
                raise EngineError("the engine has died")
            while self.gate and not Path(self.gate).exists():
                await asyncio.sleep(0.02)
            return await compute(request)

        compute, engine.prefill = engine.prefill, prefill
        return engine

    @dynamo_endpoint()
    async def prompts(self) -> int:
        return self.started


EchoWorker.link(Pre)
"""
ARGS = ["--EchoWorker.remote_prefill=true", "--EchoWorker.block_size=8", f"--EchoWorker.prefill_timeout={BOUND}"]


def token_request(number):
    sampling = Sampling(max_tokens=4, temperature=0.0)
    return TokenRequest(request_id=f"r{number}", tokens=[number] * 40, sampling=sampling)


async def prefill_note(graph, number):
    """The note about the prefill on the trace of a request."""
    trace = await graph.trace(graph.EchoWorker.generate(token_request(number)))
    assert [token for delta in trace.value for token in delta.tokens] == [number] * 4
    (note,) = [span.notes["prefill"] for span in trace.spans if "prefill" in span.notes]
    return note


def serve(project, *args, **options):
    project.write("prefill.py", GRAPH)
    return project.serve("prefill:EchoWorker", args=[*ARGS, *args], **options)


async def wait_for_prompts(graph, prompts):
    async def enough():
        return await graph.Pre.prompts() >= prompts

    await asyncio.wait_for(poll_until(enough), BOUND)


async def wait_for_queue(graph, prompts):
    async def so_many():
        return (await graph.Pre.queue())["waiting"] == prompts

    await asyncio.wait_for(poll_until(so_many), BOUND)


@pytest.fixture
def gate(tmp_path):
    return tmp_path / "gate"


async def test_a_draining_worker_receives_the_result_of_its_prefill(project, gate):
    async with await serve(project, f"--Pre.gate={gate}") as graph:
        draining = asyncio.Event()
        answer = asyncio.create_task(prefill_note(graph, 1))
        await wait_for_prompts(graph, 1)
        loop, states = asyncio.get_running_loop(), graph.listeners
        states.append(
            lambda it: (
                any(worker.state == "draining" for worker in it.status.services["EchoWorker"].workers)
                and loop.call_soon_threadsafe(draining.set)
            )
        )
        restarting = asyncio.ensure_future(graph.restart("EchoWorker"))
        await asyncio.wait_for(draining.wait(), BOUND)
        gate.touch()
        assert await asyncio.wait_for(answer, BOUND) == "remote"
        await restarting


async def test_a_prompt_that_a_prefill_worker_cannot_compute_is_computed_locally_at_once(project):
    async with await serve(project, "--Pre.broken=true") as graph:
        for number in (1, 2):
            assert await prefill_note(graph, number) == "local: the prefill worker failed"
        assert await graph.Pre.prompts() == 2
        assert (await graph.Pre.queue())["waiting"] == 0


async def test_prompts_of_cancelled_requests_are_not_computed(project, gate):
    async with await serve(project, f"--Pre.gate={gate}") as graph:
        computing = [asyncio.create_task(prefill_note(graph, number)) for number in (1, 2)]
        await wait_for_prompts(graph, 2)
        queued = [asyncio.create_task(prefill_note(graph, number)) for number in (3, 4, 5)]
        await wait_for_queue(graph, 5)
        for task in queued:
            task.cancel()
        await asyncio.wait(queued)
        gate.touch()
        assert await asyncio.gather(*computing, prefill_note(graph, 6)) == ["remote"] * 3
        await wait_for_queue(graph, 0)
        assert await graph.Pre.prompts() == 3


async def test_services_that_are_served_one_by_one_share_a_queue(project, tmp_path):
    server = NatsServer()
    await server.start(tmp_path / "nats")
    try:
        async with (
            await serve(project, only="Pre", nats=server.url) as pre,
            await serve(project, only="EchoWorker", nats=server.url) as worker,
        ):
            assert await prefill_note(worker, 1) == "remote"
            assert await pre.Pre.prompts() == 1
    finally:
        await server.stop()
