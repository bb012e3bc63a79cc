"""Remote prefill: which worker computes a prompt, and what happens when a worker or a client goes."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from echo_graphs import BOUND, poll_until

from dynamo_nb.llm.messages import Sampling, TokenRequest
from dynamo_nb.runtime import NatsServer, nats_server

pytestmark = pytest.mark.slow

GRAPH = """\
import asyncio
import time
from pathlib import Path

from dynamo_nb import dynamo_endpoint, service
from dynamo_nb.errors import EngineError
from dynamo_nb.llm import EchoEngine, EchoPrefillWorker, EchoWorker


@service(dynamo={"namespace": "dynamo"})
class Pre(EchoPrefillWorker):
    def __init__(
        self,
        gate: str = "",
        broken: bool = False,
        ahead: float = 0.0,
        block_size: int = 8,
        blocks: int = 2048,
        max_model_len: int = 16384,
    ) -> None:
        now = time.time
        time.time = lambda: now() + ahead
        super().__init__(block_size=block_size, blocks=blocks, max_model_len=max_model_len)
        self.gate, self.broken, self.started = gate, broken, 0

    def make_engine(self):
        engine, compute = super().make_engine(), None

        async def prefill(request):
            self.started += 1
            if self.broken:
                raise EngineError("the engine has died")
            while self.gate and not Path(self.gate).exists() and request.tokens[0] != 9:
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


UNGATED = 9  # a prompt of this token does not wait for the gate


def token_request(number, length=40):
    sampling = Sampling(max_tokens=4, temperature=0.0)
    return TokenRequest(request_id=f"r{number}", tokens=[number] * length, sampling=sampling)


async def prefill_note(graph, number, length=40):
    """The note about the prefill on the trace of a request."""
    trace = await graph.trace(graph.EchoWorker.generate(token_request(number, length)))
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
        log = Path(graph.status.services["EchoWorker"].workers[0].log)

        async def logged():
            return (await asyncio.to_thread(log.read_text)).count("the prefill worker failed") == 1

        await asyncio.wait_for(poll_until(logged), BOUND)


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


@pytest.mark.parametrize("ahead", [-86400.0, 30.0, 86400.0])
async def test_a_prefill_worker_whose_clock_differs_from_that_of_nats_takes_prompts(project, ahead):
    args = [f"--Pre.ahead={ahead}", "--EchoWorker.prefill_timeout=20"]
    async with await serve(project, *args) as graph:
        assert await prefill_note(graph, 1) == "remote"


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


@pytest.mark.parametrize("leaving", ["cancelled", "timed out", "killed"])
async def test_a_prompt_is_not_computed_to_its_end_when_its_sender_has_left(project, gate, leaving):
    """Two prompts that never end fill the prefill worker; a third one is computed when their senders have left."""
    args = [f"--Pre.gate={gate}", *(["--EchoWorker.prefill_timeout=2"] if leaving == "timed out" else [])]
    async with await serve(project, *args) as graph:
        abandoned = [asyncio.create_task(prefill_note(graph, number)) for number in (1, 2)]
        await wait_for_prompts(graph, 2)
        if leaving == "cancelled":
            for task in abandoned:
                task.cancel()
        elif leaving == "killed":
            os.kill(graph.status.services["EchoWorker"].workers[0].pid, signal.SIGKILL)
        notes = await asyncio.gather(*abandoned, return_exceptions=True)
        if leaving == "timed out":
            assert notes == ["local: the prefill timed out"] * 2
        await wait_for_queue(graph, 0)
        assert await asyncio.wait_for(prefill_note(graph, UNGATED), BOUND) == "remote"
        assert await graph.Pre.prompts() == 3


@pytest.mark.parametrize("length", [40, 30_000, 200_000], ids=["small", "large prompt", "large prompt and result"])
async def test_prompts_and_results_may_be_larger_than_a_message_of_nats(project, tmp_path, monkeypatch, length):
    monkeypatch.setattr(nats_server, "MAX_PAYLOAD", "64KB")
    limits = [
        f"--{service}.{key}" for service in ("Pre", "EchoWorker") for key in ("blocks=30000", "max_model_len=210000")
    ]
    server = NatsServer()
    await server.start(tmp_path / "nats")
    try:
        async with await serve(project, *limits, nats=server.url) as graph:
            assert await prefill_note(graph, 300, length) == "remote"
            assert (await graph.Pre.queue())["waiting"] == 0
    finally:
        await server.stop()
