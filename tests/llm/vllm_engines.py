"""A real vLLM engine with the tiny model, and requests to it."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial

import psutil

from dynamo_nb.llm.engines.vllm.arguments import parse_vllm_args
from dynamo_nb.llm.engines.vllm.engine import VllmEngine
from dynamo_nb.llm.messages import Sampling, TokenRequest
from dynamo_nb.llm.tiny import tiny_model

BLOCK = 32
CONTEXT = 512
EVENT_TIMEOUT = 20.0  # seconds for an event of the engine

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")


def settings(**keys):
    return {
        "model": str(tiny_model()),
        "dtype": "float32",
        "enforce-eager": True,
        "max-model-len": CONTEXT,
        "max-num-seqs": 8,
        "max-num-batched-tokens": CONTEXT,
        "block-size": BLOCK,
        "enable-prefix-caching": True,
        "kv-cache-memory-bytes": 64 << 20,
    } | {key.replace("_", "-"): value for key, value in keys.items()}


@asynccontextmanager
async def configured(**keys):
    """An engine with the configuration of a service `W`, not started; stopped at the end, when it leaves no process."""
    before = descendants()
    os.environ["DYNAMO_SERVICE_CONFIG"] = json.dumps({"W": settings(**keys)})
    engine = VllmEngine(partial(parse_vllm_args, "W"))
    try:
        yield engine
    finally:
        await engine.stop()
        os.environ.pop("DYNAMO_SERVICE_CONFIG", None)  # with two engines, the first one to end has removed it
    assert descendants() <= before


@asynccontextmanager
async def started(**keys):
    async with configured(**keys) as engine:
        await engine.start()
        yield engine


def prompt(length, first=10):
    """A list of tokens, different for each `first`."""
    return [6 + (first * 31 + index * 7) % 500 for index in range(length)]


def request(tokens, name="r", **sampling):
    given = {"temperature": 0.0, "max_tokens": 16, "ignore_eos": True} | sampling
    fields = {key: given.pop(key) for key in ("generated", "adapter", "salt", "transfer") if key in given}
    return TokenRequest(request_id=name, tokens=tokens, sampling=Sampling(**given), **fields)


async def answer(engine, token_request):
    """All tokens of an answer, and its deltas."""
    async with aclosing(engine.generate(token_request)) as deltas:
        found = [delta async for delta in deltas]
    return [token for delta in found for token in delta.tokens], found


async def wait_for_cache(log, condition):
    """Follows a CacheLog until the condition is true."""
    async with asyncio.timeout(EVENT_TIMEOUT), aclosing(log.follow()) as events:
        async for _ in events:
            if condition():
                return


def descendants():
    """The processes that this one has started, without those of Python's resource tracker, which stay."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_ZOMBIE or "resource_tracker" not in " ".join(child.cmdline()):
                found.add(child.pid)
    return found
