import asyncio
import socket

import msgspec
import pytest

from dynamo_nb.errors import WorkerLost
from dynamo_nb.runtime.wire import HELLO, OPEN, VERSION


class Service:
    """Handlers that report when they start, and how they end."""

    def __init__(self):
        self.begun, self.stopped = asyncio.Event(), asyncio.Event()
        self.context, self.produced = None, 0

    async def wait(self, args, kwargs, context):
        self.context = context
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise

    async def stream(self, args, kwargs, context):
        self.context = context
        self.begun.set()
        try:
            while True:
                yield "x" * 1000
                self.produced += 1
        finally:
            self.stopped.set()

    async def release(self, args, kwargs, context):
        self.begun.set()
        await self.stopped.wait()
        yield "finished"


@pytest.fixture
async def served(plane_options, caller_options, connect, space):
    service, server, runtime = Service(), await connect(**plane_options), await connect(**caller_options)
    handlers = {"wait": service.wait, "stream": service.stream, "release": service.release}
    await server.namespace(space).component("C").serve(handlers)

    async def client(name):
        return await runtime.namespace(space).component("C").endpoint(name).client()

    service.client, service.server, service.runtime = client, server, runtime
    return service


async def test_leaving_a_stream_early_stops_the_handler(served):
    async for _ in (await served.client("stream")).call():
        break
    await served.stopped.wait()
    assert served.context.is_stopped()


async def test_closing_a_stream_stops_the_handler(served):
    stream = await (await served.client("stream")).generate(1)
    await anext(stream)
    await stream.aclose()
    await served.stopped.wait()


@pytest.mark.parametrize("iterated", [False, True])
async def test_cancelling_the_caller_stops_the_handler(served, iterated):
    client = await served.client("wait")

    async def caller():
        if iterated:
            return [item async for item in client.call()]
        return await client.call()

    task = asyncio.create_task(caller())
    await served.begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await served.stopped.wait()
    assert served.context.is_stopped()


@pytest.mark.usefixtures("short_wait")
async def test_closing_the_caller_stops_its_handlers(served):
    call = asyncio.ensure_future((await served.client("wait")).call())
    await served.begun.wait()
    await served.runtime.close()
    await served.stopped.wait()
    with pytest.raises(WorkerLost):
        await call


@pytest.mark.usefixtures("short_wait")
async def test_closing_a_worker_ends_its_handlers_and_calls(served):
    call = asyncio.ensure_future((await served.client("wait")).call())
    await served.begun.wait()
    await served.server.close()
    assert served.stopped.is_set()
    with pytest.raises(WorkerLost):
        await call


async def test_a_stream_pauses_while_its_caller_does_not_read(served):
    [instance] = (await served.client("stream")).instances
    if instance.socket is None:
        pytest.skip("the caller of this test is a Unix socket")
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(instance.socket)
    for message in ((HELLO, 0, VERSION, None), (OPEN, 1, f"{instance.namespace}/C/stream", [], {}, {})):
        data = msgspec.msgpack.encode(message)
        peer.sendall(len(data).to_bytes(4, "little") + data)
    await served.begun.wait()
    [connection] = served.server.server.connections
    waiting, writable = asyncio.Event(), connection.writable

    def observed():
        waiting.set()
        return writable()

    connection.writable = observed
    await waiting.wait()
    # Limited by the buffers of the transport, of one turn of the loop, and of the kernel.
    assert served.produced < 5_000
    peer.close()
    await served.stopped.wait()


async def test_drain_finishes_open_requests_and_sends_others_to_another_worker(served, connect, space, tmp_path):
    client = await served.client("release")
    opened = asyncio.ensure_future(client.call())
    await served.begun.wait()

    async def release(args, kwargs, context):
        return "the other worker"

    other = await connect(socket_dir=tmp_path)
    await other.namespace(space).component("C").serve({"release": release})
    await client.wait_for_instances(count=2)
    draining = asyncio.create_task(served.server.server.drain())  # still registered, so that clients choose it
    assert [await client.call() for _ in range(4)] == ["the other worker"] * 4
    assert not draining.done()
    served.stopped.set()
    await draining
    assert await opened == ["finished"]


async def test_drain_deregisters(served):
    client = await served.client("wait")
    assert client.instance_ids() == [served.server.instance_id]
    await served.server.drain()
    while client.instance_ids():
        await client.wait_for_change()
