"""A model behind vLLM: time to the first token, and tokens a second of 16 streams.

Usage: vllm_served.py bare LAYERS     vLLM's AsyncLLM, asked in its own process
       vllm_served.py graph LAYERS    Frontend, Processor and VllmWorker, asked over HTTP with server-sent events

The tiny model with so many layers. With 2 a step of 16 streams takes 1.4 ms, less than any model of use, and all that
is around the engine wants a core of its own beside it; with 8 it takes 3.5 ms.
"""

import asyncio
import importlib.util
import json
import os
import statistics
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from place import own_home, skip, tell

ALONE, TOGETHER, STREAMS = 40, 3, 16  # requests one after the other, rounds of streams, streams in each
PROMPT, FIRST, ANSWER = 200, 8, 256  # tokens: of a prompt, of an answer whose first one is waited for, of a stream
PYTHON = Path(__file__).parents[3] / ".venv-vllm" / "bin" / "python"
# One thread computes, in the engine's one process; else vLLM makes two, which wait for each other without a pause and
# so keep two cores busy, whatever the rest is.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "HF_HUB_OFFLINE": "1"}
SETTINGS = {
    "block-size": 32,
    "max-model-len": 2048,
    "max-num-batched-tokens": 2048,
    "max-num-seqs": 32,
    "kv-cache-memory-bytes": 64 << 20,
    "enforce-eager": True,
}


def prompts():
    """Each of other tokens, so that none is found in a cache."""
    number = 0
    while True:
        number += 1
        yield [6 + (number * 131 + place * 7) % 500 for place in range(PROMPT)]


async def measure(ask):
    """ask(tokens, count): yields the number of tokens of each piece of an answer."""

    async def whole(tokens, count):
        return sum([new async for new in ask(tokens, count)])

    async def first(tokens):
        began = time.perf_counter()
        took = None
        async for new in ask(tokens, FIRST):
            if new and took is None:
                took = time.perf_counter() - began
        return took

    fresh = prompts()
    for _ in range(5):
        await whole(next(fresh), ANSWER)
    firsts = [await first(next(fresh)) for _ in range(ALONE)]
    rates = []
    for _ in range(TOGETHER):
        began = time.perf_counter()
        made = await asyncio.gather(*(whole(next(fresh), ANSWER) for _ in range(STREAMS)))
        rates.append(sum(made) / (time.perf_counter() - began))
        assert made == [ANSWER] * STREAMS, made
    tell({"first_ms": statistics.median(firsts) * 1e3, "tokens_per_s": statistics.median(rates)})


async def bare():
    os.environ |= {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
    from vllm import SamplingParams
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.inputs.engine import tokens_input
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.async_llm import AsyncLLM

    from dynamo_nb.llm.tiny import tiny_model

    settings = {key.replace("-", "_"): value for key, value in SETTINGS.items()}
    arguments = AsyncEngineArgs(str(tiny_model(layers=LAYERS)), dtype="float32", enable_prefix_caching=True, **settings)
    arguments.disable_log_stats = True
    llm = await asyncio.to_thread(AsyncLLM.from_engine_args, arguments)
    numbers = iter(range(10**6))

    async def ask(tokens, count):
        params = SamplingParams(max_tokens=count, temperature=0.0, ignore_eos=True, output_kind=RequestOutputKind.DELTA)
        async for output in llm.generate(tokens_input(tokens), params, str(next(numbers))):
            yield len(output.outputs[0].token_ids)

    try:
        await measure(ask)
    finally:
        llm.shutdown()


async def graph():
    from dynamo_nb import serve
    from dynamo_nb.llm import Frontend, Processor, VllmWorker, tiny_model

    Frontend.link(Processor).link(VllmWorker)
    model = {"model": str(tiny_model(layers=LAYERS)), "dtype": "float32"}
    worker = {**SETTINGS, **model, "ServiceArgs": {"resources": {"gpu": 0}, "envs": ENVIRONMENT}}
    config = {"Frontend": {"served_model_name": "tiny"}, "VllmWorker": worker}
    async with await serve(Frontend, config, http_port=0) as deployment:
        url = urlsplit(deployment.urls["Frontend"])

        async def ask(tokens, count):
            body = {"model": "tiny", "prompt": tokens, "max_tokens": count, "temperature": 0, "ignore_eos": True}
            body |= {"stream": True, "stream_options": {"include_usage": True}}
            content = json.dumps(body).encode()
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n")
            writer.write(b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content) + content)
            told, made = 0, 0
            async for line in reader:
                if not line.startswith(b"data: {"):
                    continue
                event = json.loads(line[6:])
                if event.get("usage"):
                    told = event["usage"]["completion_tokens"]
                elif event["choices"]:
                    made += 1
                    yield 1
            writer.close()
            yield told - made  # a token may be no whole character, and so no event

        await measure(ask)


def with_vllm():
    """Goes on in the environment that has vLLM."""
    if importlib.util.find_spec("vllm") is not None:
        return
    if not PYTHON.exists():
        skip("vLLM is not installed: make .venv-vllm/.ready")
    os.execv(PYTHON, [str(PYTHON), *sys.argv])


if __name__ == "__main__":
    with_vllm()
    os.environ |= ENVIRONMENT
    LAYERS = int(sys.argv[2])
    with own_home():
        asyncio.run({"bare": bare, "graph": graph}[sys.argv[1]]())
