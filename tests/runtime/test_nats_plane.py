import asyncio

import pytest

from dynamo_nb.errors import NoInstances, ProtocolError, WorkerLost
from dynamo_nb.runtime.nats_plane import connect as connect_over_nats
from dynamo_nb.runtime.nats_transport import ACCEPT, CONFIRM, DATA, HEAD, OPEN, UNCONFIRMED

OVER_NATS = {"plane": "nats"}


async def answer(args, kwargs, context):
    return "answered"


async def wait(args, kwargs, context):
    yield "begun"
    await asyncio.Event().wait()


@pytest.fixture
async def server(connect, space):
    runtime = await connect(**OVER_NATS)
    await runtime.namespace(space).component("C").serve({"answer": answer, "wait": wait})
    return runtime


@pytest.fixture
def client_of(connect, space):
    async def client(endpoint, **options):
        return await (await connect(**options)).namespace(space).component("C").endpoint(endpoint).client()

    return client


@pytest.mark.parametrize("options", [{}, OVER_NATS], ids=["direct", "nats"])
async def test_a_worker_without_sockets_is_called_over_nats(server, client_of, options):
    client = await client_of("answer", **options)
    assert await client.call() == "answered"
    assert server.server.socket is server.server.port is None


@pytest.mark.usefixtures("short_wait")
async def test_a_caller_on_the_nats_plane_does_not_use_tcp(connect, space, client_of):
    runtime = await connect(host="127.0.0.1")
    await runtime.namespace(space).component("C").serve({"answer": answer})
    with pytest.raises(NoInstances):
        await (await client_of("answer", **OVER_NATS)).call()


async def test_the_secret_is_required_over_nats_too(connect, space, client_of):
    runtime = await connect(**OVER_NATS, secret="one")
    await runtime.namespace(space).component("C").serve({"answer": answer})
    with pytest.raises(ProtocolError, match="does not know the secret"):
        await (await client_of("answer", **OVER_NATS, secret="another")).call()
    assert await (await client_of("answer", **OVER_NATS, secret="one")).call() == "answered"


async def test_a_subject_without_a_worker_is_an_error_at_once(connect):
    runtime = await connect()
    with pytest.raises(ConnectionRefusedError):
        await connect_over_nats(runtime.nats, "dynamo_requests.missing", asyncio.Protocol, 3.0)


class Caller:
    """A caller that builds its own packets."""

    def __init__(self, nats):
        self.nats, self.inbox, self.packets = nats, nats.new_inbox(), asyncio.Queue()

    async def open(self, subject):
        async def receive(message):
            await self.packets.put((*HEAD.unpack_from(message.data), message))

        await self.nats.subscribe(self.inbox, cb=receive)
        await self.nats.publish(subject, HEAD.pack(OPEN, 0), reply=self.inbox)
        self.peer = (await self.next(ACCEPT)).reply

    async def next(self, kind):
        while True:
            received, _, message = await self.packets.get()
            if received == kind:
                return message


async def test_a_lost_packet_ends_the_connection(server, connect):
    caller = Caller((await connect()).nats)
    await caller.open(server.server.subject)
    [connection] = server.server.connections
    await caller.nats.publish(caller.peer, HEAD.pack(DATA, 1) + b"after the lost packet")
    await connection.disconnected


async def test_a_peer_that_confirms_nothing_gets_at_most_one_window(server, connect, space):
    protocol = await connect_over_nats((await connect()).nats, server.server.subject, asyncio.Protocol, 3.0)
    del protocol
    caller = Caller((await connect()).nats)
    await caller.open(server.server.subject)
    [transport] = [s._transport for s in server.server.connections if s._transport._peer == caller.inbox]
    transport.write(bytes(3 * UNCONFIRMED))
    received = 0
    while received < UNCONFIRMED:
        received += len((await caller.next(DATA)).data) - HEAD.size
    assert transport.get_write_buffer_size() == 3 * UNCONFIRMED - received
    await caller.nats.publish(caller.peer, HEAD.pack(CONFIRM, received))
    while received < 2 * UNCONFIRMED:
        received += len((await caller.next(DATA)).data) - HEAD.size


async def test_a_silent_worker_is_lost(connect, space, client_of):
    runtime = await connect(**OVER_NATS, lease=0.3)
    await runtime.namespace(space).component("C").serve({"wait": wait})
    items = aiter((await client_of("wait", **OVER_NATS)).call())
    assert await anext(items) == "begun"
    await runtime.nats.close()  # for its callers the worker has ended
    with pytest.raises(WorkerLost):
        await anext(items)
