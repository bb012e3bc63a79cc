"""The limit: length-prefixed msgpack frames between two asyncio (uvloop) processes, nothing else.

The server answers {"n": N} with N items and an end mark, one frame each; no routing, no validation, no flow control.
Usage: raw_limit.py [unix|tcp]
"""

import asyncio
import sys
from pathlib import Path

import msgspec
import uvloop
from load import ITEM, REQUEST, measure
from place import child, short_folder, tell

encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode


class Frames(asyncio.Protocol):
    def __init__(self):
        self.buffer = bytearray()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        buffer = self.buffer
        buffer += data
        at, size = 0, len(buffer)
        while size - at >= 4:
            length = int.from_bytes(buffer[at : at + 4], "little")
            if size - at - 4 < length:
                break
            self.frame(decode(bytes(buffer[at + 4 : at + 4 + length])))
            at += 4 + length
        del buffer[:at]

    def send(self, message):
        data = encode(message)
        self.transport.write(len(data).to_bytes(4, "little") + data)


class Server(Frames):
    def frame(self, message):
        asyncio.get_running_loop().create_task(self.answer(*message))

    async def answer(self, stream, request):
        for i in range(request["n"]):
            self.send((stream, ITEM))
            if i % 64 == 63:
                await asyncio.sleep(0)
        self.send((stream, None))


class Client(Frames):
    def __init__(self):
        super().__init__()
        self.streams, self.last = {}, 0

    def frame(self, message):
        stream, item = message
        self.streams[stream].put_nowait(item)

    async def call(self, request):
        self.last += 1
        stream, queue = self.last, asyncio.Queue()
        self.streams[stream] = queue
        self.send((stream, request))
        count = 0
        while await queue.get() is not None:
            count += 1
        del self.streams[stream]
        return count


async def serve(kind, folder):
    """Listens; the file `address` in the folder says where, once it does."""
    loop = asyncio.get_running_loop()
    if kind == "unix":
        address = str(folder / "s")
        server = await loop.create_unix_server(Server, address)
    else:
        server = await loop.create_server(Server, "127.0.0.1", 0)
        address = str(server.sockets[0].getsockname()[1])
    (folder / "address.new").write_text(address)
    (folder / "address.new").rename(folder / "address")
    await server.serve_forever()


async def run(kind, folder):
    loop = asyncio.get_running_loop()
    with child(__file__, kind, str(folder)):
        async with asyncio.timeout(20):
            while not (folder / "address").exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.01)
        address = (folder / "address").read_text()
        if kind == "unix":
            _, client = await loop.create_unix_connection(Client, address)
        else:
            _, client = await loop.create_connection(Client, "127.0.0.1", int(address))
        return await measure(lambda: client.call(REQUEST), lambda n: client.call(REQUEST | {"n": n}))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        uvloop.run(serve(sys.argv[1], Path(sys.argv[2])))
    else:
        with short_folder() as folder:
            tell(uvloop.run(run(sys.argv[1], folder)))
