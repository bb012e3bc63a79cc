"""The metrics page: who may read it, and how little others can hold of it."""

import asyncio
import os
import resource
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dynamo_nb.control import framing
from dynamo_nb.supervisor import metrics_page
from dynamo_nb.supervisor.control_server import ControlServer
from dynamo_nb.supervisor.descriptors import RESERVE
from dynamo_nb.supervisor.metrics_page import MOST_WAITING, MetricsPage

BACKEND = {"ready": 2, "desired": 2, "restarts": {}, "usage": {}, "workers": {}, "routes": {}}
NUMBERS = {"services": {"Backend": BACKEND}, "edges": []}
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
ANOTHER_USER = """
import encodings.idna, os, socket, sys
if sys.argv[4] == "another user":
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as connection:
    connection.sendall(sys.argv[3].encode())
    print(connection.makefile("rb").readline().decode())
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not list the owners of sockets")


class WatchedPage(MetricsPage):
    """Reports the end of a connection."""

    async def _connected(self, reader, writer):
        await super()._connected(reader, writer)
        self.ended.set()


@asynccontextmanager
async def serving(host="127.0.0.1", token="", numbers=NUMBERS):
    async def read():
        return numbers

    page = WatchedPage(host, 0, token, read)
    page.ended = asyncio.Event()
    await page.start()
    try:
        yield page
    finally:
        page.close()


def address(page):
    return page._socket.getsockname()[:2]


async def answer(page, request=GET + b"\r\n"):
    reader, writer = await asyncio.open_connection(*address(page))
    writer.write(request)
    found = await reader.read()
    writer.close()
    return found


async def test_the_address_is_known_after_the_end():
    async with serving() as page:
        before = page.url
    assert page.url == before


ACCESS = {
    "the owner": ("127.0.0.1", "", "the owner", "", 200),
    "the owner, over IPv6": ("::1", "", "the owner", "", 200),
    "the owner, of a page with a token": ("127.0.0.1", "secret", "the owner", "", 200),
    "another user": ("127.0.0.1", "", "another user", "", 401),
    "another user, over IPv6": ("::1", "", "another user", "", 401),
    "another user with the token": ("127.0.0.1", "secret", "another user", "Bearer secret", 200),
    "another user with the token and a scheme in small letters": (
        "::1",
        "secret",
        "another user",
        "bearer secret",
        200,
    ),
    "another user with a wrong token": ("127.0.0.1", "secret", "another user", "Bearer secrets", 401),
    "another user with an empty token": ("127.0.0.1", "", "another user", "Bearer ", 401),
    "another user with the token as a password": ("127.0.0.1", "secret", "another user", "Basic secret", 401),
    "the owner with a wrong token": ("127.0.0.1", "secret", "the owner", "Bearer guess", 401),
    "another user of a page for all machines": ("0.0.0.0", "", "another user", "", 200),
    "another user of a page for all machines with a token": ("0.0.0.0", "secret", "another user", "", 401),
}


@needs_root
@needs_linux
@pytest.mark.parametrize("name", ACCESS)
async def test_the_page_is_for_its_owner_and_for_who_knows_the_token(name):
    host, token, user, authorization, expected = ACCESS[name]
    header = f"Authorization: {authorization}\r\n".encode() if authorization else b""
    async with serving(host, token) as page:
        request = (GET + header + b"\r\n").decode()
        client = "127.0.0.1" if host == "0.0.0.0" else host
        words = [sys.executable, "-c", ANOTHER_USER, client, str(address(page)[1]), request, user]
        process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
        status, _ = await process.communicate()
    assert status.split()[1] == str(expected).encode()


@needs_linux
async def test_a_connection_that_its_process_has_closed_has_no_owner():
    """Linux lists such a socket as root's."""
    async with serving() as page:
        _, writer = await asyncio.open_connection(*address(page))
        own, peer = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
        assert metrics_page.owner_of(own, peer, socket.AF_INET) == os.geteuid()
        writer.transport.abort()
        await asyncio.sleep(0)
        assert metrics_page.owner_of(own, peer, socket.AF_INET) is None


HELD = {
    "no byte": b"",
    "half a request line": b"GET /metr",
    "half of the headers": GET,
    "a header that never ends": GET + b"X: " + b"x" * 8000,
}


@pytest.mark.parametrize("name", HELD)
async def test_held_connections_are_bounded_and_the_page_is_read(name):
    async with serving() as page:
        held = [await asyncio.open_connection(*address(page)) for _ in range(3 * MOST_WAITING)]
        for _, writer in held:
            writer.write(HELD[name])

        assert b"dynamo_workers_ready" in await answer(page)

        assert len(page._waiting._tasks) <= MOST_WAITING
        closed = [reader.at_eof() or reader.exception() is not None for reader, _ in held]
        assert sum(closed) >= 2 * MOST_WAITING
        for _, writer in held:
            writer.transport.abort()


@pytest.mark.parametrize("name", HELD)
async def test_a_held_connection_is_closed_in_time(name, monkeypatch):
    monkeypatch.setattr(metrics_page, "CONNECTION_LIMIT", 0.05)
    async with serving() as page:
        reader, writer = await asyncio.open_connection(*address(page))
        writer.write(HELD[name])
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()


async def test_a_reader_that_takes_nothing_is_closed_in_time(monkeypatch):
    monkeypatch.setattr(metrics_page, "CONNECTION_LIMIT", 1.0)
    workers = {f"Backend{i}": dict(NUMBERS["services"]["Backend"]) for i in range(30_000)}
    async with serving(numbers={"services": workers, "edges": []}) as page:
        with socket.create_connection(address(page)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(GET + b"\r\n")
            await asyncio.wait_for(page.ended.wait(), 20)


BAD = {
    "no HTTP": (b"\x16\x03\x01\x00\xf8\x01\x00\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\n", 400),
    "a line of one word": (b"GET\r\n\r\n", 400),
    "nothing": (b"\r\n\r\n", 400),
    "too long headers": (GET + b"X: " + b"x" * 2**16, 400),
    "another method": (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
    "headers that are not ASCII": (GET + b"X: \xff\xfe\r\n\r\n", 200),
    "a header without a colon": (GET + b"nonsense\r\n\r\n", 200),
    "HEAD": (b"HEAD /metrics HTTP/1.1\r\n\r\n", 200),
    "HTTP/1.0": (b"GET /metrics HTTP/1.0\r\n\r\n", 200),
    "OpenMetrics": (GET + b"Accept: application/openmetrics-text;version=1.0.0\r\n\r\n", 200),
}


@pytest.mark.parametrize("name", BAD)
async def test_any_request_is_answered(name):
    request, status = BAD[name]
    async with serving() as page:
        try:
            found = await answer(page, request)
        except ConnectionError:  # closed with a part of the request unread
            assert name == "too long headers"
        else:
            assert found.split()[1] == str(status).encode()
            assert (b"dynamo_workers_ready" in found) == (status == 200 and not request.startswith(b"HEAD"))
            if name == "OpenMetrics":
                assert found.endswith(b"# EOF\n")
        assert b"dynamo_workers_ready" in await answer(page)


@pytest.fixture
def few_descriptors():
    """Lets this process open a few more files than the reserve."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path(os.devnull).open() as file:
        first = file.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (first + 8 + RESERVE, before[1]))
        yield
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_connections_to_the_page_leave_descriptors_to_the_supervisor(few_descriptors):
    async with serving() as page:
        held = [await asyncio.open_connection(*address(page)) for _ in range(20)]
        for reader, _ in held[10:]:
            assert await reader.read() == b""
        assert len(page._waiting._tasks) < 10
        for _, writer in held:
            writer.transport.abort()


async def test_clients_leave_descriptors_to_workers(few_descriptors, tmp_path):
    followed = asyncio.Event()

    async def follow(worker, channel):
        followed.set()
        await channel.receive()

    async def nothing():
        return {}

    server = ControlServer({"access": nothing}, {}, status=lambda: None, follow_worker=follow)
    path = tmp_path / "s"
    await server.listen(path)
    clients = [await asyncio.open_unix_connection(path) for _ in range(20)]
    reader, writer = clients[-1]
    writer.write(framing.encode({"id": 1, "verb": "access"}))
    refusal = framing.decode(await reader.readline())
    assert "no file descriptors left" in refusal["error"]["what"]
    assert await reader.read() == b""

    _, worker = await asyncio.open_unix_connection(path)
    worker.write(framing.encode({"worker": "Backend.0"}))
    await asyncio.wait_for(followed.wait(), 20)

    for _, writer in [*clients, (None, worker)]:
        writer.close()
    server.close()
