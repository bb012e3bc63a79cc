"""The HTTP server of a worker that stops: what happens to connections in every state."""

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from dynamo_nb.errors import DynamoError
from dynamo_nb.runtime.http_server import LINGER, HttpServer

BOUND = 20.0
WHOLE = b"GET /whole HTTP/1.1\r\nhost: x\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n"
BODY = b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"


class App:
    """An ASGI application. Its streams, and answers to bodies, wait until `go` is set."""

    def __init__(self, name, start_fails=False):
        self.name, self.start_fails = name, start_fails
        self.go, self.began, self.read, self.cancelled = (asyncio.Event() for _ in range(4))

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            if self.start_fails:
                await send({"type": "lifespan.startup.failed", "message": "no weights here"})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        head = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
        if scope["path"] == "/stream":
            await send(head)
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            self.began.set()
            await self.go.wait()
            await send({"type": "http.response.body", "body": b"last"})
            return
        body = b""
        if scope["path"] == "/body":
            self.began.set()
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            self.read.set()
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        text = self.name.encode() + body
        await send({**head, "headers": [*head["headers"], (b"content-length", str(len(text)).encode())]})
        await send({"type": "http.response.body", "body": text})


@pytest.fixture
def held():
    """The socket that a supervisor holds."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held


async def steps():
    """Lets the server go on until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def served(app, held):
    server = HttpServer(app, held.dup(), keep_alive=30)
    await server.start()
    try:
        yield server
    finally:
        app.go.set()
        await server.stop(2)


class Client:
    """One connection, byte by byte."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, data):
        self.writer.write(data)

    async def answer(self):
        """The head and the body of the next answer; an error if the connection is closed without one."""
        async with asyncio.timeout(BOUND):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            if "transfer-encoding: chunked" in head:
                return head, await self.reader.readuntil(b"0\r\n\r\n")
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            return head, await self.reader.readexactly(length)

    async def is_closed(self):
        async with asyncio.timeout(BOUND):
            return await self.reader.read() == b""


@asynccontextmanager
async def clients(held, count):
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(Client(*await asyncio.open_connection(*held.getsockname())))
            stack.push_async_callback(made[-1].writer.wait_closed)
            stack.callback(made[-1].writer.close)
        yield made


async def new(client, app):
    """It has not sent anything yet."""
    return WHOLE


async def half_a_head(client, app):
    client.send(WHOLE[:20])
    return WHOLE[20:]


async def half_a_body(client, app):
    client.send(BODY + b"12")
    await app.began.wait()
    return b"34"


async def used_before(client, app):
    client.send(WHOLE)
    await client.answer()
    return WHOLE


async def used_for_a_stream(client, app):
    client.send(STREAM)
    app.go.set()
    await client.answer()
    return WHOLE


@pytest.mark.parametrize("state", [new, half_a_head, half_a_body, used_before, used_for_a_stream])
async def test_a_request_that_arrives_while_the_server_stops_is_the_last_of_its_connection(held, state):
    app = App("one")
    async with served(app, held) as server, clients(held, 1) as (client,):
        rest = await state(client, app)
        await steps()
        stopping = asyncio.create_task(server.stop(BOUND))
        await steps()
        client.send(rest)
        app.go.set()
        head, body = await client.answer()
        assert body.startswith(b"one")
        assert "connection: close" in head
        assert await client.is_closed()
        await stopping


async def test_a_stream_that_began_before_is_finished_and_its_connection_takes_one_more_request(held):
    app = App("one")
    async with served(app, held) as server, clients(held, 1) as (client,):
        client.send(STREAM)
        await app.began.wait()
        stopping = asyncio.create_task(server.stop(BOUND))
        await steps()
        app.go.set()
        head, body = await client.answer()
        assert b"last" in body
        assert "connection: close" not in head  # it was sent before
        client.send(WHOLE)
        head, _ = await client.answer()
        assert "connection: close" in head
        await stopping


@pytest.mark.parametrize("size", [4, 70_000, 200_000, 5_000_000])
async def test_the_end_of_a_client_is_seen_after_a_body_of_any_size(held, size):
    app = App("one")
    async with served(app, held):
        async with clients(held, 1) as (client,):
            client.send(BODY.replace(b"4", str(size).encode()) + b"x" * size)
            async with asyncio.timeout(BOUND):
                await app.read.wait()
        async with asyncio.timeout(BOUND):
            await app.cancelled.wait()


async def test_connections_in_the_queue_are_left_to_the_other_worker(held):
    async with served(App("old"), held) as old:
        await old.stop(BOUND)
        async with clients(held, 20) as waiting:
            for client in waiting:
                client.send(WHOLE)
            async with served(App("new"), held):
                assert [(await client.answer())[1] for client in waiting] == [b"new"] * 20


async def test_connections_are_shared_among_workers(held):
    async with served(App("one"), held), served(App("two"), held), clients(held, 40) as connected:
        for client in connected:
            client.send(WHOLE)
        names = [(await client.answer())[1] for client in connected]
        assert min(names.count(b"one"), names.count(b"two")) >= 10


@pytest.mark.alone
async def test_a_connection_that_was_not_used_for_a_while_is_closed_at_once(held):
    async with served(App("one"), held) as server, clients(held, 1) as (client,):
        client.send(WHOLE)
        await client.answer()
        (connection,) = server._server.server_state.connections
        connection.used_at -= LINGER
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await server.stop(BOUND)
        assert loop.time() - begun < LINGER / 2
        assert await client.is_closed()


async def test_open_requests_are_cancelled_when_the_grace_is_over(held):
    app = App("one")
    async with served(app, held) as server, clients(held, 1) as (client,):
        client.send(STREAM)
        await app.began.wait()
        await server.stop(0.05)
        assert not app.go.is_set()


async def test_an_application_that_fails_to_start_is_an_error(held):
    with pytest.raises(DynamoError, match="the HTTP application did not start"):
        await HttpServer(App("one", start_fails=True), held, keep_alive=30).start()


async def test_connections_are_accepted_again_after_an_error(held):
    """Such as too many open files. Here the socket stops listening for a moment."""
    async with served(App("one"), held):
        held.shutdown(socket.SHUT_RDWR)
        async with asyncio.timeout(BOUND), AsyncExitStack() as stack:
            while True:
                try:
                    (client,) = await stack.enter_async_context(clients(held, 1))
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
            client.send(WHOLE)
            assert (await client.answer())[1] == b"one"
