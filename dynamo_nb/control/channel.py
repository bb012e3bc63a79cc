"""A connection to the supervisor's control socket, on either side.

The control socket is a Unix socket that only its user can reach. Clients send requests and receive replies. Workers
hold a connection open for as long as they live: they report their state over it and receive commands. A closed
connection means that the other side has died.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from dynamo_nb.control.framing import Message, decode, encode


class Channel:
    """One connection, in whole messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @property
    def descriptor(self) -> int:
        """The number of the connection's file descriptor; -1 if it is closed."""
        found: int = self._writer.get_extra_info("socket").fileno()
        return found

    def send(self, message: Message) -> None:
        """Sends a message; one to a connection that is closing is dropped."""
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    async def receive(self) -> Message | None:
        """The next message; None when the other side has closed the connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
            if line := await self._reader.readline():
                return decode(line)
        return None

    async def __aiter__(self) -> AsyncIterator[Message]:
        while (message := await self.receive()) is not None:
            yield message

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
