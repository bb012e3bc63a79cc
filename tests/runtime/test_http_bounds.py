"""Connections to HTTP endpoints that hold on without a request are closed; those that are answered are not."""

import asyncio
import socket

import pytest

from dynamo_nb.runtime import http_bounds, http_server
from dynamo_nb.runtime.http_server import HttpServer

BOUND = 20.0
GET = b"GET /{} HTTP/1.1\r\nhost: x\r\n"
WHOLE = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HALF = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf of"
EXPECT = b"POST /wait HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n"


class App:
    """Answers at once, except for `/wait`, which waits until `go` is set before it reads the body."""

    def __init__(self):
        self.go, self.began, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.began.set()
        try:
            if scope["path"] == "/wait":
                await self.go.wait()
            while (await receive()).get("more_body"):
                pass
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
        finally:
            self.ended.set()


class Clock:
    """The time of the limits, which a test moves."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        real = http_bounds.WaitingTime
        clock = self

        class OnClock(real):
            def __init__(self, keep_alive, now):
                super().__init__(keep_alive, clock.now)

            def answered(self, now):
                clock.now += 1e-6  # so that one connection has waited longer than the next
                super().answered(clock.now)

            def received(self, now, *, complete):
                super().received(clock.now, complete=complete)

            def is_over(self, now):
                return super().is_over(clock.now)

        monkeypatch.setattr(http_server, "WaitingTime", OnClock)
        monkeypatch.setattr(http_server, "TICK", 0.01)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
async def app():
    app = App()
    yield app
    app.go.set()


@pytest.fixture
async def address(app, clock):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        server = HttpServer(app, held.dup(), keep_alive=30)
        await server.start()
        yield held.getsockname()
        app.go.set()
        await server.stop(2)


async def opened(address, data=b""):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    return reader, writer


async def is_closed(reader):
    try:
        return await asyncio.wait_for(reader.read(), BOUND) == b""
    except ConnectionError:
        return True


async def answered(reader):
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), BOUND)
    assert head.startswith(b"HTTP/1.1 200"), head
    assert await reader.readexactly(2) == b"ok"


async def whole(address):
    """A request on a new connection; by its answer the server has read what was sent to it before."""
    reader, writer = await opened(address, WHOLE)
    await answered(reader)
    writer.close()


LATE = {
    "no byte": (b"", [], 31),
    "half a line": (b"GET / HT", [], 61),
    "half of the headers": (b"GET / HTTP/1.1\r\nhost", [], 61),
    "a byte now and then": (b"GET / HTTP/1.1\r\nx: ", [b"y"] * 6, 11),
    "a body that stops": (HALF, [], 61),
    "a kept connection without a request": (WHOLE, [], 31),
    "a kept connection and half a request": (WHOLE, [b"GET /"], 61),
    "a kept connection and a byte now and then": (WHOLE, [b"G", b"E", b"T", b" ", b"/", b"x"], 13),
}


@pytest.mark.parametrize("name", LATE)
async def test_a_connection_that_waits_too_long_for_its_client_is_closed(address, clock, name):
    first, later, seconds = LATE[name]
    reader, writer = await opened(address, first)
    if first == WHOLE:
        await answered(reader)
    await whole(address)
    for byte in later:
        writer.write(byte)
        await writer.drain()
        await whole(address)
        clock.now += seconds
    clock.now += seconds

    assert await is_closed(reader)
    await whole(address)
    writer.close()


async def test_the_handler_of_a_body_that_stops_ends(address, app, clock):
    reader, writer = await opened(address, HALF)
    await app.began.wait()
    clock.now += 61
    assert await is_closed(reader)
    await asyncio.wait_for(app.ended.wait(), BOUND)
    writer.close()


SLOW_SERVICE = {
    "an answer that takes long": (b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n", b""),
    "a body that the service asks for late": (EXPECT, b"body"),
    "a body that the service reads late": (
        b"POST /wait HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 999_999,
        b"x",
    ),
}


@pytest.mark.parametrize("name", SLOW_SERVICE)
async def test_a_connection_that_waits_for_the_service_is_not_closed(address, app, clock, name):
    first, rest = SLOW_SERVICE[name]
    reader, writer = await opened(address, first)
    await app.began.wait()
    await whole(address)
    clock.now += 1000
    for _ in range(3):
        await whole(address)
        await asyncio.sleep(0.02)  # the server looks in between
    app.go.set()
    if first == EXPECT:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    writer.write(rest)
    await answered(reader)
    writer.close()


async def test_a_body_in_parts_may_take_longer_than_the_limit(address, clock):
    reader, writer = await opened(address, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n")
    for byte in b"body":
        await whole(address)
        clock.now += 50
        writer.write(bytes([byte]))
        await writer.drain()
    await answered(reader)
    writer.close()


HELD = {"no byte": b"", "half a line": b"GET / HT", "kept connections": WHOLE, "part of a body": HALF}


@pytest.mark.parametrize("name", HELD)
async def test_held_connections_leave_room_for_requests(address, monkeypatch, name):
    monkeypatch.setattr(http_server, "most_connections", lambda: 20)
    connections = []
    for _ in range(60):
        connections.append(await opened(address, HELD[name]))
        if name == "kept connections":
            await answered(connections[-1][0])
    for _ in range(5):
        await whole(address)
    assert await is_closed(connections[0][0])
    for _, writer in connections:
        writer.transport.abort()


async def test_a_request_that_is_answered_is_not_closed_for_a_new_connection(address, app, monkeypatch):
    monkeypatch.setattr(http_server, "most_connections", lambda: 5)
    answering = [await opened(address, b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n") for _ in range(5)]
    await app.began.wait()
    new, new_writer = await opened(address)
    assert await is_closed(new)
    new_writer.close()
    app.go.set()
    for reader, writer in answering:
        await answered(reader)
        writer.close()
