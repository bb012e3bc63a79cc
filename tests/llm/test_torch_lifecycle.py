"""How TorchEngines start, fail and stop, what they leave behind, and one in a served graph."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import weakref

import pytest

pytest.importorskip("torch")

import torch
import transformers
from torch_engines import generated, reference, started
from vllm_engines import answer, prompt, request, wait_for_cache

from dynamo_nb.errors import EngineError
from dynamo_nb.llm.engines.torch.engine import TorchEngine
from dynamo_nb.llm.engines.torch.options import TorchOptions
from dynamo_nb.llm.messages import Sampling, TextRequest
from dynamo_nb.llm.text.tokenizer import Tokenizer
from dynamo_nb.llm.tiny import tiny_model


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "dynamo-torch"]


def empty(folder):
    return {"model": str(folder)}


def stateful(folder):
    """A model whose layers keep a state instead of keys and values."""
    config = transformers.MambaConfig(vocab_size=300, hidden_size=32, num_hidden_layers=1, state_size=4)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return {"model": str(folder), "max_model_len": 512}


FAILED = {
    "a missing folder": (lambda _: {"model": "/nowhere/at/all"}, "no folder '/nowhere/at/all'"),
    "a folder without a model": (empty, "cannot be loaded"),
    "an unknown dtype": (lambda _: {"dtype": "float17"}, "no dtype 'float17'"),
    "a name of torch that is not a dtype": (lambda _: {"dtype": "nn"}, "no dtype 'nn'"),
    "an unknown device": (lambda _: {"device": "abacus"}, "cannot be loaded.*abacus"),
    "a context that is too long for the model": (lambda _: {"max_model_len": 10**6}, "made for 16384 tokens"),
    "a model without keys and values": (stateful, "keeps no keys and values|cannot be loaded"),
}


@pytest.mark.parametrize("case", FAILED)
async def test_the_start_fails_with(case, tmp_path):
    options, message = FAILED[case]
    before = threads()
    engine = TorchEngine(TorchOptions(**({"model": str(tiny_model())} | options(tmp_path))))
    with pytest.raises(EngineError, match=f"(?s){message}"):
        await engine.start()
    assert threads() == before
    with pytest.raises(EngineError):
        await engine.health()
    with pytest.raises(EngineError):
        await answer(engine, request(prompt(9)))
    await engine.stop()


@pytest.mark.parametrize("missing", ["torch", "transformers"])
async def test_a_missing_library_is_an_error_that_names_the_package(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(EngineError, match=r"(?s)torch cannot be imported.*pip install 'dynamo-nb\[torch\]'"):
        async with started():
            pass


async def test_a_start_that_is_cancelled_leaves_no_thread():
    before = threads()
    engine = TorchEngine(TorchOptions(model=str(tiny_model())))
    start = asyncio.create_task(engine.start())
    await asyncio.sleep(0)
    assert len(threads()) == len(before) + 1
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    assert start.cancelled()
    assert threads() == before


@pytest.mark.parametrize("options", [{"slots": 0}, {"block_size": 0}])
def test_at_least_one_slot_and_one_token_in_a_block_are_required(options):
    with pytest.raises(EngineError):
        TorchEngine(TorchOptions(model="m", **options))


async def weights(engine):
    """A weak reference to the model in the engine's thread."""
    found, thread = asyncio.get_running_loop().create_future(), engine._thread
    thread.put(lambda scheduler: thread.call_on_loop(found.set_result, weakref.ref(scheduler.model._model)))
    return await found


async def test_stop_ends_answers_the_thread_and_frees_the_model():
    before = threads()
    async with started() as engine:
        model = await weights(engine)
        assert model() is not None
        running = asyncio.create_task(answer(engine, request(prompt(20, 50), max_tokens=1500)))
        await wait_for_cache(engine.cache, lambda: engine.load().running == 1)
    with pytest.raises(EngineError, match="is not running"):
        await running
    assert threads() == before
    assert model() is None
    await engine.stop()
    for call in (engine.health(), engine.embed([1]), answer(engine, request(prompt(9)))):
        with pytest.raises(EngineError, match="is not running"):
            await call


async def test_an_error_in_the_thread_ends_all_answers_and_fails_the_health_check():
    async with started(slots=1) as engine:
        model = await weights(engine)
        tasks = [asyncio.create_task(answer(engine, request(prompt(20, n), max_tokens=1500))) for n in range(2)]
        await wait_for_cache(engine.cache, lambda: (engine.load().running, engine.load().waiting) == (1, 1))
        engine._thread.put(lambda _: torch.empty(1 << 60))
        tasks.append(asyncio.create_task(engine.embed([1])))
        for task in tasks:
            with pytest.raises(EngineError, match=r"the engine has failed.*memory"):
                await task
        for call in (engine.health(), engine.embed([1]), answer(engine, request(prompt(9)))):
            with pytest.raises(EngineError, match="the engine has failed"):
                await call
        assert engine.load().running == engine.load().waiting == 0
        assert model() is None


def test_nothing_heavy_is_imported_before_an_engine_starts():
    code = (
        "import sys; from dynamo_nb.llm import TorchEngine, TorchOptions, TorchWorker; TorchEngine(TorchOptions(model='m'));"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- served ------------------------------------------------------------------------------------------------------

GRAPH = """\
from dynamo_nb.llm import Frontend, Processor, TorchWorker

Frontend.link(Processor).link(TorchWorker)
"""


@pytest.mark.slow
async def test_a_served_graph_answers_with_the_engine(project):
    project.write("torch_graph.py", GRAPH)
    args = [f"--{key}" for key in ("Processor.served_model_name=tiny", "TorchWorker.threads=1", "TorchWorker.slots=2")]
    tokenizer = Tokenizer(str(tiny_model()))
    text = "What is the capital of France?"
    sampling = Sampling(max_tokens=24, temperature=0.0, ignore_eos=True)
    text_request = TextRequest(request_id="r", model="tiny", prompt=text, sampling=sampling)
    async with await project.serve("torch_graph:Frontend", args=args) as deployment:
        deltas = [delta async for delta in deployment.Processor.generate(text_request)]
        embedding = await deployment.Processor.embed(text_request)
    tokens = tokenizer.encode(text)
    assert "".join(delta.text for delta in deltas) == tokenizer.decode(generated(reference(), tokens, 24))
    assert (deltas[0].prompt_tokens, deltas[-1].finish) == (len(tokens), "length")
    assert embedding.tokens == len(tokens)
