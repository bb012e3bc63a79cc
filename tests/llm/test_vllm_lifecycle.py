"""How VllmEngines start, fail and stop. `configured` checks that none of them leaves a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

pytest.importorskip("vllm")

from vllm_engines import BLOCK, answer, configured, prompt, request, settings, started, wait_for_cache

from dynamo_nb.errors import ConfigError, EngineError, InvalidArgument
from dynamo_nb.llm.cache.blocks import block_hashes
from dynamo_nb.llm.engines.vllm.arguments import parse_vllm_args
from dynamo_nb.llm.tiny import tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def configuration(monkeypatch):
    def configure(**keys):
        monkeypatch.setenv("DYNAMO_SERVICE_CONFIG", json.dumps({"W": settings(**keys)}))

    return configure


def test_the_configuration_of_a_service_becomes_the_arguments_of_the_engine(configuration):
    configuration(
        max_model_len=256,
        enable_prefix_caching=False,
        kv_transfer_config={"kv_connector": "NixlConnector", "kv_role": "kv_both"},
    )
    arguments = parse_vllm_args("W")
    assert (arguments.max_model_len, arguments.block_size, arguments.dtype) == (256, BLOCK, "float32")
    assert arguments.enable_prefix_caching is False
    assert arguments.kv_transfer_config.kv_connector == "NixlConnector"


def test_options_of_our_services_are_parsed_too(configuration):
    configuration(router="kv", remote_prefill=True, max_local_prefill_length=77, lora_modules=["a=/x", "b=/y"])
    arguments = parse_vllm_args("W")
    assert (arguments.router, arguments.remote_prefill, arguments.conditional_disagg) == ("kv", True, False)
    assert (arguments.max_local_prefill_length, arguments.max_prefill_queue_size) == (77, 64)
    assert (arguments.lora_modules, arguments.enable_lora) == (["a=/x", "b=/y"], True)


def test_a_folder_in_the_home_directory_is_found(configuration, monkeypatch):
    folder = tiny_model()
    monkeypatch.setenv("HOME", str(folder.parent))
    configuration(model=f"~/{folder.name}")
    assert parse_vllm_args("W").model == str(folder)


def test_with_a_prefix_only_keys_that_begin_with_it_are_used(monkeypatch):
    monkeypatch.setenv(
        "DYNAMO_SERVICE_CONFIG", json.dumps({"W": {"vllm-max-model-len": 128, "vllm-model": "", "port": 8000}})
    )
    assert parse_vllm_args("W", prefix="vllm-").max_model_len == 128


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"max_modle_len": 4}, r"W.max-modle-len: .*did you mean 'max-model-len'\?"),
        ({"dtype": "float17"}, r"W.dtype: "),
        ({"max_num_seqs": "many"}, r"W.max-num-seqs: .*many"),
        ({"router": "best"}, r"W.router: "),
        ({"model": "/nowhere/at/all"}, r"W.model: no folder '/nowhere/at/all'"),
        ({"model": "no/such-model"}, r"W.model: no model 'no/such-model' on this machine"),
        ({"lora_modules": ["nameless"]}, r"W.lora-modules: .*not of the form name=path"),
    ],
)
def test_unknown_keys_and_invalid_values_are_named(configuration, keys, message):
    configuration(**keys)
    with pytest.raises(ConfigError, match=message):
        parse_vllm_args("W")


async def test_a_start_without_a_model_fails_and_leaves_no_process(tmp_path):
    async with configured(model=str(tmp_path)) as engine:
        with pytest.raises(EngineError, match="vLLM did not start"):
            await engine.start()


async def test_a_start_that_fails_in_the_engine_process_leaves_no_process():
    async with configured(kv_cache_memory_bytes=1000) as engine:
        with pytest.raises(EngineError, match="vLLM did not start"):
            await engine.start()


async def test_a_start_that_is_cancelled_leaves_no_process():
    async with configured() as engine:
        start = asyncio.create_task(engine.start())
        async with asyncio.timeout(60):
            while engine._processes is None or not engine._processes.running():  # noqa: ASYNC110 (there is no event)
                await asyncio.sleep(0.05)
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        assert start.cancelled()


async def test_an_engine_with_a_killed_process_fails_its_health_check_and_stops():
    async with started() as engine:
        running = asyncio.create_task(answer(engine, request(prompt(20), max_tokens=480)))
        await wait_for_cache(engine.cache, lambda: engine.load().running == 1)
        for process in engine._processes.running():
            os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(EngineError):
            await running
        with pytest.raises(EngineError, match="died"):
            await engine.health()


async def test_evicted_blocks_are_removed_from_the_cache_log():
    async with started(num_gpu_blocks_override=20) as engine:
        tokens = prompt(6 * BLOCK + 1)
        names = block_hashes(tokens, BLOCK)
        await answer(engine, request(tokens))
        await wait_for_cache(engine.cache, lambda: engine.cache.leading(names) == 6)
        for first in range(40, 46):
            await answer(engine, request(prompt(6 * BLOCK + 1, first)))
        await wait_for_cache(engine.cache, lambda: engine.cache.leading(names) == 0)
        assert len(engine.cache.blocks) <= engine.info.total_blocks
        assert (await answer(engine, request(tokens)))[1][0].cached == 0


async def test_an_embedding_model_refuses_text_generation():
    async with started(runner="pooling") as engine:
        assert engine._processes.running()
        vector = await engine.embed(prompt(30))
        assert len(vector) == 64
        assert vector == await engine.embed(prompt(30)) != await engine.embed(prompt(30, 5))
        assert "embeddings" in engine.info.features
        with pytest.raises(InvalidArgument, match="embeddings, not text"):
            await answer(engine, request(prompt(30)))
