"""Transfer of a prompt's KV cache from one vLLM engine to another."""

from __future__ import annotations

import importlib.util

import pytest

pytest.importorskip("vllm")

import pytest_asyncio
from vllm_engines import BLOCK, CONTEXT, answer, prompt, request, started

from dynamo_nb.errors import InvalidArgument

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def transfer_by_files(tmp_path_factory):
    """Two engines that hand prompts over in a folder: one for prefill, one for decode, and the folder."""
    folder = tmp_path_factory.mktemp("transfer")
    transfer = {
        "kv_connector": "ExampleConnector",
        "kv_role": "kv_both",
        "kv_connector_extra_config": {"shared_storage_path": str(folder)},
    }
    async with started(kv_transfer_config=transfer) as prefill, started(kv_transfer_config=transfer) as decode:
        yield prefill, decode, folder


@pytest.mark.asyncio(loop_scope="module")
async def test_answers_after_a_transfer_by_files_equal_those_of_one_engine(transfer_by_files):
    prefill, decode, folder = transfer_by_files
    requests = [request(prompt(4 * BLOCK + extra, extra), f"r{extra}", max_tokens=30) for extra in (1, 2, 17, 31)]
    async with started() as alone:
        expected = [(await answer(alone, each))[0] for each in requests]
    assert "prefill" in decode.info.features
    for each, tokens in zip(requests, expected, strict=True):
        transferred = request(each.tokens, each.request_id, max_tokens=30, transfer=await prefill.prefill(each))
        stored = set(folder.iterdir())
        found, deltas = await answer(decode, transferred)
        assert found == tokens
        # With one token after the last full block, vLLM's connector looks for a block less than it stored, and misses.
        assert deltas[0].cached == (0 if len(each.tokens) % BLOCK == 1 else 4 * BLOCK)
        assert set(folder.iterdir()) == stored


@pytest.mark.asyncio(loop_scope="module")
async def test_a_prompt_over_the_context_is_refused_before_its_prefill(transfer_by_files):
    prefill, *_ = transfer_by_files
    with pytest.raises(InvalidArgument, match=f"{CONTEXT} tokens for prompt"):
        await prefill.prefill(request(prompt(CONTEXT)))


@pytest.mark.skipif(importlib.util.find_spec("nixl") is None, reason="NIXL is not installed")
async def test_answers_after_a_transfer_with_nixl_equal_those_of_one_engine(monkeypatch):
    monkeypatch.setenv("VLLM_NIXL_SIDE_CHANNEL_PORT", "")  # so that monkeypatch restores it at the end
    monkeypatch.delenv("VLLM_NIXL_SIDE_CHANNEL_PORT")

    def transfer(role):
        return {"kv_connector": "NixlConnector", "kv_role": role, "kv_buffer_device": "cpu"}

    requests = [request(prompt(4 * BLOCK + extra, extra), f"r{extra}", max_tokens=30) for extra in (1, 17)]
    async with started(kv_transfer_config=transfer("kv_producer")) as prefill:
        monkeypatch.delenv("VLLM_NIXL_SIDE_CHANNEL_PORT")
        async with started(kv_transfer_config=transfer("kv_consumer")) as decode:
            for each in requests:
                result = await prefill.prefill(each)
                assert result["do_remote_prefill"]
                transferred = request(each.tokens, f"{each.request_id}-there", max_tokens=30, transfer=result)
                expected = (await answer(prefill, each))[0]
                assert (await answer(decode, transferred))[0] == expected
