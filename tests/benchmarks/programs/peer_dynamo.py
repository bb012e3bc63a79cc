"""The peer: the same load through ai-dynamo-runtime (Rust core, Python at both ends), loopback only.

It logs one line for each request whatever DYN_LOG says (1.6.1 has the filter `request_span=trace` built in); so as not
to charge it for a terminal or a pipe, both ends write their logs to /dev/null.

Usage: peer_dynamo.py [tcp|nats]        nats: with a server named by NATS_SERVER
"""

import asyncio
import importlib.util
import os
import sys

import uvloop
from load import ITEM, REQUEST, measure, median_call
from messages import Answer, Request
from place import LOOPBACK, child, short_folder, skip, tell

os.environ.update(LOOPBACK, DYN_LOG="error")
ONE, MODEL, STREAM = "bench.backend.one", "bench.backend.model", "bench.backend.stream"
PATIENCE = 30  # seconds for the server to appear


def log_to_nowhere():
    """Only Python's own errors still reach whoever runs this program."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)


async def serve(plane):
    from dynamo.runtime import DistributedRuntime, dynamo_endpoint

    async def one(request, context):
        yield ITEM

    async def stream(request, context):
        for _ in range(request["n"]):
            yield ITEM

    @dynamo_endpoint(Request, Answer)
    async def model(request):
        yield Answer().model_dump()

    runtime = DistributedRuntime(asyncio.get_running_loop(), "file", plane)
    served = {ONE: one, MODEL: model, STREAM: stream}
    await asyncio.gather(*(runtime.endpoint(name).serve_endpoint(handler) for name, handler in served.items()))


async def run(plane):
    from dynamo.runtime import DistributedRuntime

    runtime = DistributedRuntime(asyncio.get_running_loop(), "file", plane)
    one, model, streamed = [await runtime.endpoint(name).client() for name in (ONE, MODEL, STREAM)]
    async with asyncio.timeout(PATIENCE):
        for client in (one, model, streamed):
            await client.wait_for_instances()

    async def call():
        async for answer in await one.round_robin(REQUEST, annotated=False):
            assert answer == ITEM

    async def with_models():
        # As its examples do: the request travels as JSON text, which the server's decorator parses.
        async for answer in await model.round_robin(Request().model_dump_json(), annotated=False):
            Answer.model_validate(answer)

    async def stream(n):
        count = 0
        async for _ in await streamed.round_robin(REQUEST | {"n": n}, annotated=False):
            count += 1
        return count

    figures = await measure(call, stream)
    figures["model_us"] = 1e6 * await median_call(with_models)
    runtime.shutdown()
    return figures


if __name__ == "__main__":
    if importlib.util.find_spec("dynamo") is None or importlib.util.find_spec("dynamo.runtime") is None:
        skip("no ai-dynamo-runtime")
    log_to_nowhere()
    plane = sys.argv[1]
    if len(sys.argv) > 2:
        uvloop.run(serve(plane))
    else:
        with short_folder() as folder:
            os.environ["DYN_FILE_KV"] = str(folder)
            with child(__file__, plane, "serve"):
                tell(uvloop.run(run(plane)))
