"""An HTTP client for the workers of a deployment: one request at a time on each connection, read part by part.

The client measures loads of some thousand requests per second, so its work for each request must be small. It detects
the end of each chunk of an answer: a worker writes one chunk for each item.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import h11

from dynamo_nb.errors import NoInstances, WorkerLost

READ_SIZE: Final = 64 * 1024
"""Maximum number of bytes in one read."""
_LOST: Final = (ConnectionError, asyncio.IncompleteReadError, h11.RemoteProtocolError)


@dataclass(frozen=True)
class HttpMessage:
    """A request over HTTP.

    Attributes:
        method: HTTP method.
        url: Complete URL, with its query.
        headers: Headers by name.
        body: The body; empty for none.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class HttpHead:
    """The head of an answer.

    Attributes:
        status: HTTP status.
        headers: Headers by name, in lower case.
    """

    status: int
    headers: Mapping[str, str]


class _Connection:
    """A connection to one server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._state = h11.Connection(h11.CLIENT)
        self.used = False

    @property
    def reusable(self) -> bool:
        """True if the connection can be used for another request."""
        return self._state.our_state is h11.IDLE and not self._reader.at_eof() and not self._writer.is_closing()

    async def send(self, message: HttpMessage) -> HttpHead:
        """Sends a request and returns the head of its answer."""
        parts = urlsplit(message.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"host": parts.netloc, "accept": "*/*", **message.headers, "content-length": str(len(message.body))}
        sent = self._bytes(h11.Request(method=message.method, target=target, headers=list(headers.items())))
        if message.body:
            sent += self._bytes(h11.Data(message.body))
        self._writer.write(sent + self._bytes(h11.EndOfMessage()))
        await self._writer.drain()
        while not isinstance(event := await self._next(), h11.Response):
            if isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError
        found = {name.decode().lower(): value.decode("latin-1") for name, value in event.headers}
        return HttpHead(event.status_code, found)

    def _bytes(self, event: Any) -> bytes:
        return self._state.send(event) or b""

    async def parts(self) -> AsyncIterator[tuple[bytes, bool]]:
        """Yields the parts of the body, each with True if it ends a chunk."""
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            if isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError
            if isinstance(event, h11.Data):
                yield bytes(event.data), event.chunk_end
        if self._state.our_state is h11.DONE and self._state.their_state is h11.DONE:
            self._state.start_next_cycle()
            self.used = True

    async def _next(self) -> Any:
        while (event := self._state.next_event()) is h11.NEED_DATA:
            self._state.receive_data(await self._reader.read(READ_SIZE))
        return event

    def close(self) -> None:
        self._writer.close()


class HttpConnections:
    """The idle connections of one event loop. Close it before the loop ends."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int], list[_Connection]] = {}

    async def _take(self, url: str, *, new: bool) -> _Connection:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        address = parts.hostname or "", parts.port or (443 if secure else 80)
        idle = self._idle.get(address, [])
        while idle and not new:
            if (connection := idle.pop()).reusable:
                return connection
            connection.close()
        try:
            tls = ssl.create_default_context() if secure else None
            return _Connection(*await asyncio.open_connection(*address, ssl=tls))
        except OSError as error:
            what = f"{address[0]}:{address[1]} cannot be reached: {error.strerror or error}"
            raise NoInstances(what, where=url, remedy="`dynamo ps` shows the state of the deployment") from None

    def _give(self, url: str, connection: _Connection) -> None:
        parts = urlsplit(url)
        address = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._idle.setdefault(address, []).append(connection)

    async def answer(self, message: HttpMessage) -> AsyncIterator[HttpHead | tuple[bytes, bool]]:
        """Sends a request.

        A worker may close an idle connection while a request is sent. The request is then sent again, over a new
        connection.

        Args:
            message: The request.

        Yields:
            The head of the answer, then the parts of its body, each with True if it ends a chunk.

        Raises:
            NoInstances: The server cannot be reached.
            WorkerLost: The connection ended before the end of the answer.
        """
        connection = await self._take(message.url, new=False)
        complete = False
        try:
            try:
                head = await connection.send(message)
            except _LOST:
                if not connection.used:
                    raise
                connection.close()
                connection = await self._take(message.url, new=True)
                head = await connection.send(message)
            yield head
            async for part in connection.parts():
                yield part
            complete = True
        except _LOST as error:
            what = f"the connection ended before the answer of {message.method} {message.url} was complete"
            raise WorkerLost(what, where=message.url) from error
        finally:
            if complete and connection.reusable:
                self._give(message.url, connection)
            else:
                connection.close()

    def close(self) -> None:
        """Closes the idle connections."""
        for connections in self._idle.values():
            for connection in connections:
                with suppress(RuntimeError):
                    connection.close()
        self._idle.clear()
