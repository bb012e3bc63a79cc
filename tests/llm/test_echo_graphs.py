"""Frontend, Processor and echo workers in served graphs, and workers that are lost in the middle of an answer."""

import asyncio
import os
import signal
from contextlib import suppress

import openai
import psutil
import pytest

from dynamo_nb.errors import InvalidArgument, WorkerLost
from dynamo_nb.llm.messages import Sampling, TextRequest
from dynamo_nb.llm.text.tokenizer import Tokenizer
from dynamo_nb.llm.tiny import tiny_model
from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

BOUND = 60
AGG = "from dynamo_nb.llm import EchoWorker, Frontend, Processor\n\nFrontend.link(Processor).link(EchoWorker)\n"
DISAGG = """\
from dynamo_nb.llm import EchoPrefillWorker, EchoWorker, Frontend, Processor

Frontend.link(Processor).link(EchoWorker).link(EchoPrefillWorker)
"""
BARE = """\
from dynamo_nb import service
from dynamo_nb.llm import EchoWorker, Frontend, Processor, Router


@service
class Shouting(Processor):
    async def generate(self, request):
        async for delta in super().generate(request):
            delta.text = delta.text.upper()
            yield delta


@service
class OwnRouter(Router):
    async def place(self, request, avoid):
        async for placement in super().place(request, avoid):
            yield placement


@service
class Worker(EchoWorker):
    async def generate(self, request):
        async for delta in super().generate(request):
            yield delta

    async def events(self):
        async for event in super().events():
            yield event


Frontend.link(Shouting).link(OwnRouter).link(Worker)
"""
PROMPT = "the quick brown fox jumps over the lazy dog"
SLOW = "--EchoWorker.tokens_per_second=400"


@pytest.fixture(scope="module")
def agg(module_project):
    module_project.write("agg.py", AGG)
    args = [
        "--EchoWorker.ServiceArgs.workers=2",
        "--Processor.served_model_name=tiny",
        "--EchoWorker.block_size=8",
        SLOW,
    ]
    with module_project.serve("agg:Frontend", args=args).result(timeout=BOUND) as deployment:
        yield deployment


def expected(tokens):
    """The answer of EchoWorker to the prompt."""
    tokenizer = Tokenizer(str(tiny_model()))
    prompt = tokenizer.encode(PROMPT)
    return tokenizer.decode((prompt * tokens)[:tokens])


def text_request(tokens, name="r", **fields):
    return TextRequest(
        request_id=name, model="tiny", prompt=PROMPT, sampling=Sampling(max_tokens=tokens, temperature=0.0), **fields
    )


async def text_of(deployment, request):
    return "".join([delta.text async for delta in deployment.Processor.generate(request)])


def test_a_prompt_is_answered_through_the_graph(agg):
    deltas = agg.Processor.generate(text_request(20)).result(timeout=BOUND)
    assert "".join(delta.text for delta in deltas) == expected(20)
    assert deltas[0].prompt_tokens == len(Tokenizer(str(tiny_model())).encode(PROMPT))
    assert deltas[-1].finish == "length"
    assert sum(delta.tokens for delta in deltas) == 20


def test_openais_client_receives_the_same_answer(agg):
    with openai.OpenAI(base_url=f"{agg.urls['Frontend']}/v1", api_key="-") as client:
        answer = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=20, temperature=0)
    assert answer.choices[0].text == expected(20)
    assert answer.usage.completion_tokens == 20


def test_a_stop_text_ends_the_answer_across_tokens(agg):
    deltas = agg.Processor.generate(text_request(40, stop=("n fox j",))).result(timeout=BOUND)
    assert "".join(delta.text for delta in deltas) == expected(40).partition("n fox j")[0]
    assert deltas[-1].finish == "stop"


def test_overrides_without_annotations_serve_like_their_base_classes(project):
    project.write("bare.py", BARE)
    args = ["--Shouting.served_model_name=tiny", "--Worker.block_size=8"]
    with project.serve("bare:Frontend", args=args).result(timeout=BOUND) as deployment:
        with openai.OpenAI(base_url=f"{deployment.urls['Frontend']}/v1", api_key="-") as client:
            chunks = list(
                client.completions.create(model="tiny", prompt=PROMPT, max_tokens=20, temperature=0, stream=True)
            )
        assert "".join(chunk.choices[0].text for chunk in chunks) == expected(20).upper()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (text_request(10**6), "max_tokens is too large: 1000000"),
        (TextRequest(request_id="r", model="other", prompt="a"), "'other' is not served"),
        (TextRequest(request_id="r", model="tiny", prompt=""), "prompt is empty"),
        (TextRequest(request_id="r", model="tiny", prompt=[10**6]), "not in the vocabulary of tiny"),
        (TextRequest(request_id="r", model="tiny", prompt=[1] * 20000), "the prompt has 20000 tokens"),
        (
            TextRequest(request_id="r", model="tiny", messages=[{"role": "user", "content": [{"type": "image"}]}]),
            "image",
        ),
        (TextRequest(request_id="r", model="tiny", prompt="a", tools=[{}]), "does not support tools"),
    ],
)
def test_invalid_requests_are_refused_before_a_worker_is_called(agg, request_, message):
    with pytest.raises(InvalidArgument, match=message):
        agg.Processor.generate(request_).result(timeout=BOUND)


def test_an_answer_continues_on_another_worker_when_its_own_is_killed(agg):
    """Of four answers on two workers, two are on the worker that is killed."""

    async def answers():
        begun = asyncio.Semaphore(0)

        async def answer(name):
            text = ""
            async for delta in agg.Processor.generate(text_request(300, name)):
                if not text and delta.text:
                    begun.release()
                text += delta.text
            return text

        tasks = [asyncio.create_task(answer(f"r{n}")) for n in range(4)]
        for _ in tasks:
            await begun.acquire()
        os.kill(agg.status.services["EchoWorker"].workers[0].pid, signal.SIGKILL)
        return await asyncio.gather(*tasks)

    assert portal.run(answers(), BOUND) == [expected(300)] * 4


async def test_prompts_are_computed_locally_while_nats_is_unavailable(project):
    project.write("disagg.py", DISAGG)
    args = ["--Processor.served_model_name=tiny", "--EchoWorker.remote_prefill=true", "--EchoWorker.block_size=8"]
    args += ["--EchoPrefillWorker.block_size=8", "--EchoWorker.prefill_timeout=2"]
    async with await project.serve("disagg:Frontend", args=args) as deployment:
        assert await text_of(deployment, text_request(20)) == expected(20)
        (server,) = [p for p in psutil.Process(deployment.status.pid).children() if p.name() == "nats-server"]
        server.send_signal(signal.SIGSTOP)
        try:
            assert await asyncio.wait_for(text_of(deployment, text_request(20)), BOUND) == expected(20)
            server.kill()
            assert await asyncio.wait_for(text_of(deployment, text_request(20)), BOUND) == expected(20)
        finally:
            with suppress(psutil.NoSuchProcess):
                server.send_signal(signal.SIGCONT)

        async def remote():
            trace = await deployment.trace(deployment.Processor.generate(text_request(20)))
            return [span.notes["prefill"] for span in trace.spans if "prefill" in span.notes] == ["remote"]

        async with asyncio.timeout(BOUND):
            while not await remote():
                pass


async def test_prompts_are_computed_by_prefill_workers(project):
    project.write("disagg.py", DISAGG)
    args = ["--Processor.served_model_name=tiny", "--EchoWorker.remote_prefill=true", "--EchoWorker.block_size=8"]
    args += ["--EchoPrefillWorker.block_size=8"]
    async with await project.serve("disagg:Frontend", args=args) as deployment:
        trace = await deployment.trace(deployment.Processor.generate(text_request(20)))
        notes = [span.notes for span in trace.spans if "prefill" in span.notes]
        assert [note["prefill"] for note in notes] == ["remote"]
        assert await text_of(deployment, text_request(20, "again")) == expected(20)
        assert (
            await asyncio.gather(*(text_of(deployment, text_request(20, "same")) for _ in range(4)))
            == [expected(20)] * 4
        )
        assert (await deployment.EchoPrefillWorker.queue())["waiting"] == 0
        victim = deployment.status.services["EchoPrefillWorker"].workers[0].pid
        os.kill(victim, signal.SIGKILL)
        assert await asyncio.wait_for(text_of(deployment, text_request(20, "after")), BOUND) == expected(20)


DIFFERING = """\
import os
from pathlib import Path

from msgspec.structs import replace

from dynamo_nb import service
from dynamo_nb.llm import EchoEngine, EchoWorker, Frontend, Processor


class Differing(EchoEngine):
    async def start(self):
        started_before = Path(os.environ["DYNAMO_HOME"], "started")
        self.token = 7 if started_before.exists() else 6
        started_before.touch()
        await super().start()

    async def generate(self, request):
        async for delta in super().generate(request):
            delta.tokens = [self.token for _ in delta.tokens]
            yield delta


@service(dynamo={"namespace": "dynamo"})
class Echo(EchoWorker):
    def make_engine(self):
        return Differing(self.engine_options())


Frontend.link(Processor).link(Echo)
"""


async def with_killed_workers(deployment, service, request):
    """The text of an answer whose workers are killed after its first text."""
    text = ""
    async for delta in deployment.Processor.generate(request):
        if not text and delta.text:
            for worker in deployment.status.services[service].workers:
                os.kill(worker.pid, signal.SIGKILL)
        text += delta.text
    return text


COUNTING = TextRequest(
    request_id="counting",
    model="tiny",
    prompt=PROMPT,
    sampling=Sampling(max_tokens=300, temperature=0.0, presence_penalty=1.0),
)


async def test_an_answer_with_penalties_restarts_and_is_sent_once(project):
    project.write("agg.py", AGG)
    async with await project.serve("agg:Frontend", args=["--Processor.served_model_name=tiny", SLOW]) as deployment:
        assert await asyncio.wait_for(with_killed_workers(deployment, "EchoWorker", COUNTING), BOUND) == expected(300)


async def test_an_answer_that_another_worker_would_change_ends_with_an_error(project):
    project.write("differing.py", DIFFERING)
    args = ["--Processor.served_model_name=tiny", SLOW.replace("EchoWorker", "Echo")]
    async with await project.serve("differing:Frontend", args=args) as deployment:
        with pytest.raises(WorkerLost, match="different answer"):
            await asyncio.wait_for(with_killed_workers(deployment, "Echo", COUNTING), BOUND)


DYING = """\
from collections.abc import AsyncIterator
from contextlib import aclosing

from msgspec.structs import replace

from dynamo_nb import dynamo_endpoint, service
from dynamo_nb.errors import EngineError
from dynamo_nb.llm import EchoEngine, EchoWorker, Frontend, Processor, Router


class Dying(EchoEngine):
    dead = False

    async def generate(self, request):
        if self.dead:
            raise EngineError("the engine has died")
        async for delta in super().generate(request):
            yield delta

    async def embed(self, tokens):
        if self.dead:
            raise EngineError("the engine has died")
        return await super().embed(tokens)

    async def health(self):
        if self.dead:
            raise EngineError("the engine has died")


@service(dynamo={"namespace": "dynamo"})
class Echo(EchoWorker):
    def make_engine(self):
        return Dying(self.engine_options(), embeddings=True)

    @dynamo_endpoint()
    async def die(self):
        self.engine.dead = True


@service(dynamo={"namespace": "dynamo"})
class StaleRouter(Router):
    async def place(self, request, avoid):
        async with aclosing(aiter(super().place(request, avoid))) as placements:
            async for placement in placements:
                yield placement if avoid else replace(placement, instance_id=1)  # a worker that has gone


"""


@pytest.mark.parametrize("policy", ["round-robin", "random", "least-loaded", "kv"])
async def test_no_request_fails_when_an_engine_dies_in_a_running_worker(project, policy):
    links = (
        "Frontend.link(Processor).link(Router).link(Echo)" if policy == "kv" else "Frontend.link(Processor).link(Echo)"
    )
    project.write("dying.py", DYING + links)
    args = ["--Processor.served_model_name=tiny", f"--Processor.router={policy}", "--Echo.ServiceArgs.workers=2"]
    async with await project.serve("dying:Frontend", args=args) as deployment:
        await deployment.Echo.die()
        answers = [text_of(deployment, text_request(20, f"r{number}")) for number in range(12)]
        embeddings = [deployment.Processor.embed(text_request(1, f"e{number}")) for number in range(4)]
        results = await asyncio.wait_for(asyncio.gather(*answers, *embeddings), BOUND)
        assert results[:12] == [expected(20)] * 12
        assert all(embedding.vector for embedding in results[12:])


async def test_a_request_placed_on_a_worker_that_has_gone_is_sent_to_another(project):
    project.write("dying.py", DYING + "Frontend.link(Processor).link(StaleRouter).link(Echo)")
    async with await project.serve("dying:Frontend", args=["--Processor.served_model_name=tiny"]) as deployment:
        assert await text_of(deployment, text_request(20)) == expected(20)
        assert (await deployment.Processor.embed(text_request(1))).vector
