import asyncio

import pytest
import uvloop

from dynamo_nb.errors import WorkerLost
from dynamo_nb.runtime import DistributedRuntime
from dynamo_nb.runtime.frames import LARGE, UNCOPIED

numpy = pytest.importorskip("numpy")

SIZES = [10, 20_000, LARGE - 100, LARGE, UNCOPIED - 1, UNCOPIED, 5_000_001]
HUGE = 70_000_000


async def echo(args, kwargs, context):
    return args


async def refill(args, kwargs, context):
    """Yields one array repeatedly, filled with another number each time."""
    array = numpy.zeros(args[0], "u1")
    for number in range(args[1]):
        array[:] = number
        yield {"array": array, "number": number}


async def send_arrays(nats_url, space, options, caller_options, sizes):
    server = await DistributedRuntime.connect(nats_url, **options)
    runtime = await DistributedRuntime.connect(nats_url, **caller_options)
    try:
        await server.namespace(space).component("C").serve({"echo": echo, "refill": refill})
        client = await runtime.namespace(space).component("C").endpoint("echo").client()
        for size in sizes:
            array = numpy.resize(numpy.arange(251, dtype="u1"), size)
            data = array.tobytes()
            arrays = await asyncio.gather(*(client.call([array, n, array[::3], data]) for n in range(2)))
            for n, (whole, number, thirds, raw) in enumerate(arrays):
                assert number == n
                assert (whole == array).all()
                assert (thirds == array[::3]).all()
                assert raw == data
        streams = await runtime.namespace(space).component("C").endpoint("refill").client()
        for size in sizes:
            async for item in streams.call([size, 5]):
                assert (item["array"] == item["number"]).all()
    finally:
        await runtime.close()
        await server.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("sizes", [SIZES, pytest.param([HUGE], marks=pytest.mark.slow)], ids=["small", "huge"])
def test_arrays_of_all_sizes_arrive_unchanged(loop, sizes, plane_options, caller_options, nats_url, space):
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(send_arrays(nats_url, space, plane_options, caller_options, sizes))


@pytest.mark.usefixtures("short_wait")
async def test_a_truncated_large_frame_ends_the_request(connect, space, tmp_path):
    begun = asyncio.Event()

    async def wait(args, kwargs, context):
        begun.set()
        await asyncio.Event().wait()

    server, runtime = await connect(socket_dir=tmp_path), await connect()
    await server.namespace(space).component("C").serve({"wait": wait})
    client = await runtime.namespace(space).component("C").endpoint("wait").client()
    call = asyncio.ensure_future(client.call([]))
    await begun.wait()
    [at_server] = server.server.connections
    [connection] = runtime.connections._open.values()
    connection._transport.write((100_000_000).to_bytes(4, "little") + bytes(1_000_000))
    connection.abort()
    with pytest.raises(WorkerLost):
        await call
    await at_server.disconnected
    await server.server.drain()
