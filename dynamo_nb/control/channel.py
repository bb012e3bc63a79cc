"""The supervisor's control socket: JSON lines over a Unix socket that only its user can reach.

The notebook and the command line send requests and get replies; workers hold a connection open for as long as they
live, over which they report their state and are told what to do. A closed connection means that the other side died.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dynamo_nb.errors import DeploymentError, DynamoError, to_wire

MAX_LINE = 64 * 2**20
"""Bytes of one message; a GraphSpec with many schemas is the longest."""

Message = dict[str, Any]


class Channel:
    """One connection: whole messages in, whole messages out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, message: Message) -> None:
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message, default=str).encode() + b"\n")

    async def receive(self) -> Message | None:
        """The next message; None when the other side has gone."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
            if line := await self._reader.readline():
                message: Message = json.loads(line)
                return message
        return None

    async def __aiter__(self) -> AsyncIterator[Message]:
        while (message := await self.receive()) is not None:
            yield message

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


async def listen(path: Path, accept: Callable[[Channel], Awaitable[None]]) -> asyncio.Server:
    """Serves the control socket; `accept` runs for each connection until it returns."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = Channel(reader, writer)
        try:
            await accept(channel)
        except asyncio.CancelledError:
            pass  # the supervisor ends; asyncio would print the traceback of a handler that was cancelled
        finally:
            await channel.close()

    return await asyncio.start_unix_server(connected, path, limit=MAX_LINE)


async def answer(
    channel: Channel, message: Message, verb: Callable[..., Awaitable[Any]], status: Callable[[], Message]
) -> None:
    """Runs one request and sends what it gives, or what is so after it where that is None, or its error."""
    try:
        given = await verb(**message.get("args", {}))
        channel.send({"id": message["id"], "result": status() if given is None else given})
    except DynamoError as error:
        channel.send({"id": message["id"], "error": to_wire(error)})
    except Exception as error:
        traceback.print_exc()
        ours = DeploymentError(f"the supervisor failed at {message.get('verb')}: {type(error).__name__}: {error}")
        channel.send({"id": message["id"], "error": to_wire(ours)})
