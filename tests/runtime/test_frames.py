import asyncio
import logging

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_nb.errors import ProtocolError
from dynamo_nb.runtime.frames import Frames
from dynamo_nb.runtime.wire import END, HELLO, ITEM, MAX_FRAME, OPEN, VERSION


def pack(*messages):
    encoded = [msgspec.msgpack.encode(message) for message in messages]
    return b"".join(len(data).to_bytes(4, "little") + data for data in encoded)


class Collected(Frames):
    def __init__(self):
        super().__init__()
        self.messages = []

    def on_frame(self, message, length):
        self.messages.append(message)


@given(st.lists(st.binary(max_size=6000), max_size=6), st.lists(st.integers(1, 7000), max_size=8))
@settings(deadline=None, max_examples=60)
def test_frames_arrive_in_any_segmentation(values, cuts):
    async def feed():
        collected, data = Collected(), pack(*values)
        for cut in cuts:
            if data:
                collected.data_received(data[:cut])
                data = data[cut:]
        collected.data_received(data)
        return collected.messages

    assert asyncio.run(feed()) == values


HELLO_FRAME = pack((HELLO, 0, VERSION, None))
GARBAGE = {
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "not a hello": pack((OPEN, 1, "a/b/c", [], {}, {})),
    "a large hello": (10_000).to_bytes(4, "little") + b"\xc4",
    "too large": HELLO_FRAME + (MAX_FRAME + 1).to_bytes(4, "little"),
    "not msgpack": HELLO_FRAME + b"\x02\x00\x00\x00\xc1\xc1",
    "not an array": HELLO_FRAME + pack(5),
    "an unknown kind": HELLO_FRAME + pack((99, 1)),
    "a short request": HELLO_FRAME + pack((OPEN, 1)),
    "wrong types": HELLO_FRAME + pack((OPEN, 1, "a/b/c", {}, [], None)),
    "an answer": HELLO_FRAME + pack((ITEM, 1, None)),
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_closes_its_connection_with_one_log_line(data, connect, space, tmp_path, caplog):
    server, runtime = await connect(socket_dir=tmp_path), await connect()

    async def ok(args, kwargs, context):
        return "ok"

    await server.namespace(space).component("C").serve({"ok": ok})
    client = await runtime.namespace(space).component("C").endpoint("ok").client()
    assert await client.call() == "ok"
    with caplog.at_level(logging.INFO):
        reader, writer = await asyncio.open_unix_connection(server.server.socket)
        writer.write(data)
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
        writer.close()
    assert [record.levelname for record in caplog.records if "not a frame" in record.message] == ["WARNING"]
    assert len(caplog.records) == 1
    assert await client.call() == "ok"


async def test_a_caller_of_another_version_gets_an_error(connect, space, tmp_path):
    server = await connect(socket_dir=tmp_path)
    await server.namespace(space).component("C").serve({})
    reader, writer = await asyncio.open_unix_connection(server.server.socket)
    writer.write(pack((HELLO, 0, VERSION + 1, None)))
    answer = msgspec.msgpack.decode((await reader.read())[4:])
    writer.close()
    assert "version" in answer[2]["what"]


@pytest.mark.parametrize("answer", [b"\xff" * 64, pack((END,)), pack((77, 1)), pack((HELLO, 1))])
async def test_an_answer_that_is_not_a_frame_is_a_protocol_error(answer, connect, space):
    async def talk(reader, writer):
        await reader.readexactly(4)
        writer.write(answer)
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    runtime, worker = await connect(), await connect()
    await worker.listen()
    worker.server.port = listening.sockets[0].getsockname()[1]
    await worker.discovery.register(worker.instance(space, "C", ("generate",), {}))
    client = await runtime.namespace(space).component("C").endpoint("generate").client()
    with pytest.raises(ProtocolError):
        await client.call()
    listening.close()
    await listening.wait_closed()
