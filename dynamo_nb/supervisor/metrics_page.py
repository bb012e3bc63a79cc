"""The metrics page for Prometheus: a small HTTP server on the supervisor's loop.

Any user of the machine may reach its port. So its connections are few and short, and a page is for the owner of the
deployment and for those who know the token.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import socket
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Any, Final

from dynamo_nb.errors import PlacementError
from dynamo_nb.supervisor.descriptors import in_reserve
from dynamo_nb.supervisor.peer_owner import owner_of

MOST_WAITING: Final = 64
"""Connections that may wait for the end of their request. Another one closes the one that has waited longest."""
MOST_READING: Final = 8
"""Pages that may be made and sent at once. Another one closes the oldest."""
CONNECTION_LIMIT: Final = 10.0
"""Seconds for a request and its answer, as long as Prometheus waits by default."""
_BACKLOG: Final = 16
"""Fewer than may wait, so that accepting many connections at once does not close one whose request has come."""
_LONGEST_REQUEST: Final = 16 * 2**10
"""Bytes of the line and the headers of a request."""
_PLAIN: Final = "text/plain; charset=utf-8"
_REFUSED: Final = (
    "This page is for the user who started the deployment.\n"
    "Others need a token: start it with DYNAMO_METRICS_TOKEN, and send `Authorization: Bearer TOKEN`.\n"
)


class MetricsPage:
    """Serves the metrics over HTTP.

    Args:
        host: address to listen on.
        port: 0 for any free one.
        token: what others than the owner must send; "" for none. Then only the owner may read a page on the loopback,
            and everyone may read one on another address.
        read: returns the metrics.

    Attributes:
        port: TCP port of the page.
        url: address of the page.
        is_open: True if everyone who reaches the address may read it.

    Raises:
        PlacementError: the port is not free, or the address does not exist.
    """

    def __init__(self, host: str, port: int, token: str, read: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._token, self._read = token, read
        self._server: asyncio.Server | None = None
        self._waiting, self._reading = _Places(MOST_WAITING), _Places(MOST_READING)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise PlacementError(
                f"the metrics page cannot listen: {error.strerror or error}",
                where=f"{host}:{port}",
                remedy="choose another port with --metrics-port (0 takes a free one) or DYNAMO_METRICS_PORT",
            ) from None
        host, self.port = self._socket.getsockname()[:2]
        self.is_open = not token and not ip_address(host).is_loopback
        # Computed now: the status is also reported after the page is closed.
        self.url = f"http://[{host}]:{self.port}/metrics" if ":" in host else f"http://{host}:{self.port}/metrics"

    async def start(self) -> None:
        """Accepts connections."""
        self._server = await asyncio.start_server(
            self._connected, sock=self._socket, limit=_LONGEST_REQUEST, backlog=_BACKLOG
        )

    def close(self) -> None:
        """Closes the port and all connections."""
        if self._server is None:
            self._socket.close()
        else:
            self._server.close()
        self._waiting.clear()
        self._reading.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not in_reserve(writer.get_extra_info("socket").fileno()):
            with suppress(asyncio.CancelledError, ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(CONNECTION_LIMIT):
                    await self._answer(reader, writer)
        writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._waiting.place():
            try:
                method, headers = _parse(await reader.readuntil(b"\r\n\r\n"))
            except (asyncio.LimitOverrunError, ValueError):
                await _send(writer, "400 Bad Request", _PLAIN, b"")
                return
            if not await self._allows(headers.get("authorization", ""), writer):
                await _send(writer, "401 Unauthorized", _PLAIN, _REFUSED.encode(), "WWW-Authenticate: Bearer")
                return
            if method not in {"GET", "HEAD"}:
                await _send(writer, "405 Method Not Allowed", _PLAIN, b"", "Allow: GET, HEAD")
                return
        with self._reading.place():
            try:
                text, media_type = await self._page(headers.get("accept", ""))
            except Exception:
                traceback.print_exc()
                await _send(writer, "500 Internal Server Error", _PLAIN, b"the error is in the supervisor's log\n")
                return
            await _send(writer, "200 OK", media_type, text if method == "GET" else b"")

    async def _allows(self, authorization: str, writer: asyncio.StreamWriter) -> bool:
        if self.is_open:
            return True
        scheme, _, token = authorization.partition(" ")
        if self._token and scheme.lower() == "bearer":
            return hmac.compare_digest(token.strip().encode(), self._token.encode())
        own = writer.get_extra_info("sockname")[:2]
        peer = writer.get_extra_info("peername")[:2]
        owner = await asyncio.to_thread(owner_of, peer, own, self._socket.family)
        return owner in {os.geteuid(), 0}

    async def _page(self, accept: str) -> tuple[bytes, str]:
        numbers = await self._read()

        def make() -> tuple[bytes, str]:
            from dynamo_nb.supervisor.prometheus import page

            return page(numbers, accept)

        return await asyncio.to_thread(make)


class _Places:
    """Tasks, so many at most: another one cancels the oldest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in the order in which they came

    @contextmanager
    def place(self) -> Iterator[None]:
        """Holds a place for the current task."""
        task = asyncio.current_task()
        assert task is not None
        while len(self._tasks) >= self._most:
            oldest = next(iter(self._tasks))
            del self._tasks[oldest]
            oldest.cancel()
        self._tasks[task] = None
        try:
            yield
        finally:
            self._tasks.pop(task, None)

    def clear(self) -> None:
        for task in self._tasks:
            task.cancel()


def _parse(head: bytes) -> tuple[str, dict[str, str]]:
    """The method and the headers of a request, with names in lower case. Raises ValueError if it is not HTTP/1."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, _, version = first.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    pairs = [line.partition(":") for line in lines]
    return method, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _send(writer: asyncio.StreamWriter, status: str, media_type: str, body: bytes, *headers: str) -> None:
    """Sends an answer, and returns when the other end has taken it."""
    own = [f"Content-Type: {media_type}", f"Content-Length: {len(body)}", "Connection: close"]
    writer.write("\r\n".join([f"HTTP/1.1 {status}", *own, *headers, "", ""]).encode() + body)
    writer.close()
    await writer.wait_closed()
