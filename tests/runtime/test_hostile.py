"""Hostile peers: for any bytes that they send, the connection closes with one log line, and the worker continues."""

import asyncio
import logging
import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamo_nb.runtime.server import Server
from dynamo_nb.runtime.server_connection import ServerConnection
from dynamo_nb.runtime.wire import BUFFERS, CREDIT, HELLO, MAX_FRAME, OPEN, VERSION

MUTATIONS = 100  # of each conversation
CONVERSATIONS = 1000
LIVE = 3000


class Wire(asyncio.Transport):
    """A transport whose other end is the test."""

    def __init__(self, protocol):
        super().__init__()
        self.protocol, self.closed = protocol, False
        protocol.connection_made(self)

    def feed(self, data):
        data = memoryview(data)
        while data and not self.closed:
            if isinstance(self.protocol, asyncio.BufferedProtocol):
                room = self.protocol.get_buffer(-1)
                size = min(len(room), len(data))
                room[:size] = data[:size]
                self.protocol.buffer_updated(size)
            else:
                size = len(data)
                self.protocol.data_received(bytes(data))
            data = data[size:]

    def set_protocol(self, protocol):
        self.protocol = protocol

    def is_closing(self):
        return self.closed

    def abort(self):
        self.closed = True

    def close(self):
        self.closed = True

    def write(self, data):
        pass

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


def packed(message, flag=0):
    data = msgspec.msgpack.encode(message)
    return (len(data) | flag).to_bytes(4, "little") + data


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=40)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)
extensions = st.builds(
    msgspec.msgpack.Ext, st.sampled_from([1, 2, 3, -1]), st.binary(max_size=40) | values.map(msgspec.msgpack.encode)
)
streams = st.integers(-1, 5) | values
paths = st.sampled_from(["n/C/one", "n/C/stream", "n/C/none", "", "/"]) | values
requests = st.tuples(st.just(OPEN), streams, paths, st.lists(values | extensions, max_size=3) | values, values, values)
credits_ = st.tuples(st.just(CREDIT), streams, values)
others = st.lists(st.integers(0, 8) | values | extensions, max_size=6)
frames = st.builds(packed, requests | credits_ | others | values, st.sampled_from([0, 0, 0, BUFFERS])) | st.binary(
    max_size=60
)
conversations = st.lists(frames, min_size=1, max_size=5)

GREETING = packed((HELLO, 0, VERSION, None))


def mutated(data, chance):
    """Returns the bytes with random damage."""
    data = bytearray(data)
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at:]
            case 2:
                del data[at : at + chance.randrange(1, 9)]
            case 3:
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 4:
                data[at : at + 4] = chance.choice(
                    [0, 1, MAX_FRAME, MAX_FRAME + 1, 2**31, 2**32 - 1, 5_000_000]
                ).to_bytes(4, "little")
            case 5:
                data[at : at + 1] = chance.choice(
                    [b"\xdd\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\x91" * 3000, b"\xc1"]
                )
    return bytes(data)


class Lines(logging.Handler):
    def __init__(self):
        super().__init__(logging.INFO)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


@pytest.fixture(scope="module")
def lines():
    handler, logger = Lines(), logging.getLogger("dynamo_nb.runtime")
    logger.addHandler(handler)
    logger.propagate = False
    yield handler.lines
    logger.propagate = True
    logger.removeHandler(handler)


async def one(args, kwargs, context):
    return args


async def stream(args, kwargs, context):
    while True:
        yield args


async def converse(conversation, seed, lines):
    chance = random.Random(seed)
    server = Server(1, "w", None)
    server.handlers = {"n/C/one": one, "n/C/stream": stream}
    for number in range(MUTATIONS):
        lines.clear()
        connection = ServerConnection(server, number)
        wire = Wire(connection)
        data = (GREETING if number % 4 else b"") + mutated(b"".join(conversation), chance)
        cut = chance.randrange(len(data) + 1)
        wire.feed(data[:cut])
        wire.feed(data[cut:])
        if number % 8 == 0:
            await asyncio.sleep(0)
        assert wire.closed == connection.closed
        closings = [line for line in lines if line.startswith(("closing a connection", "rejecting"))]
        assert len(closings) == wire.closed, (data, lines)
        assert all(len(line) < 400 for line in lines)
        connection.connection_lost(None)
    if server.tasks:
        await asyncio.wait(server.tasks)
    assert not server.connections
    assert not server.half_open


@pytest.mark.slow
@settings(max_examples=CONVERSATIONS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(conversation=conversations, seed=st.integers(0, 2**32))
@pytest.mark.timeout(600)
def test_a_hundred_thousand_hostile_conversations_do_no_harm(lines, conversation, seed):
    asyncio.run(converse(conversation, seed, lines))


@pytest.mark.parametrize("plane", ["unix", "tcp"])
async def test_a_worker_answers_during_thousands_of_hostile_conversations(plane, connect, space, tmp_path, lines):
    server, runtime = await connect(socket_dir=tmp_path if plane == "unix" else None), await connect()
    await server.namespace(space).component("C").serve({"one": one, "stream": stream})
    client = await runtime.namespace(space).component("C").endpoint("one").client()
    chance = random.Random(7)
    path = f"{space}/C/"
    samples = [
        packed(
            (
                OPEN,
                1,
                path + "one",
                [1, msgspec.msgpack.Ext(1, b"\x93\xa3<i4\x91\x01\xc4\x04\0\0\0\0")],
                {},
                {"timeout": "9"},
            )
        ),
        packed((OPEN, 2, path + "stream", ["x" * 50], {}, {})) + packed((CREDIT, 2, 9)),
        packed((OPEN, 3, path + "no", [], {}, {})),
    ]
    for number in range(LIVE):
        if plane == "unix":
            reader, writer = await asyncio.open_unix_connection(server.server.socket)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        lines.clear()
        hello = b"" if number % 4 == 0 else GREETING if plane == "unix" else packed((HELLO, 0, VERSION, bytes(32)))
        writer.write(hello + mutated(b"".join(chance.sample(samples, 2)), chance))
        try:
            if writer.can_write_eof():
                writer.write_eof()
            await reader.read()
        except OSError:
            pass
        writer.transport.abort()
        assert len([line for line in lines if line.startswith("closing a connection")]) <= 1
        if number % 500 == 0:
            assert await client.call([number]) == [number]
    assert await client.call(["alive"]) == ["alive"]
    assert len(server.server.connections) == 1
