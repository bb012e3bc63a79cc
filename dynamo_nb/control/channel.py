"""The supervisor's control socket: JSON lines over a Unix socket that only its user can reach.

The notebook and the command line send requests and get replies; workers hold a connection open for as long as they
live, over which they report their state and are told what to do. A closed connection means that the other side died.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dynamo_nb.errors import ConnectError, DeploymentError, DynamoError, from_wire, to_wire

MAX_LINE = 64 * 2**20
"""Bytes of one message; a GraphSpec with many schemas is the longest."""

TAKE_BACK = 5.0
"""Seconds that a request which is taken back is waited for: new workers end sooner, old ones may drain for longer."""

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


class ControlClient:
    """The notebook's and the command line's side. One for each event loop that uses it.

    on_event: called with each event the supervisor publishes, once `watch` was requested.
    """

    def __init__(self, channel: Channel, on_event: Callable[[Message], None] | None) -> None:
        self._channel = channel
        self._on_event = on_event
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, path: Path, on_event: Callable[[Message], None] | None = None) -> ControlClient:
        """Raises ConnectError if no supervisor listens at `path`."""
        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE)
        except OSError as error:
            raise ConnectError(
                "the supervisor of this deployment does not answer",
                where=f"{path} ({error.strerror})",
                remedy="it has stopped: serve the graph again; `dynamo ps` lists what runs",
            ) from None
        return cls(Channel(reader, writer), on_event)

    async def _read(self) -> None:
        async for message in self._channel:
            if "event" in message:
                if self._on_event is not None:
                    self._on_event(message["event"])
                continue
            future = self._waiting.pop(message["id"], None)
            if future is None or future.done():
                continue
            if "error" in message:
                future.set_exception(from_wire(message["error"]))
            else:
                future.set_result(message["result"])
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(
                    ConnectError("the supervisor went away before it answered", remedy="`dynamo ps` lists what runs")
                )
        self._waiting.clear()
        await self._channel.close()

    async def request(self, verb: str, **args: Any) -> Any:
        """Asks the supervisor; raises the error that it answers with, ConnectError if it goes away.

        When this is cancelled it returns after the supervisor has taken back what it did, or has done it all.
        """
        if self._reading.done():
            raise ConnectError("the supervisor of this deployment has stopped", remedy="serve the graph again")
        number = next(self._ids)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._channel.send({"id": number, "verb": verb, "args": args})
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._channel.send({"id": 0, "verb": "cancel", "args": {"request": number}})
            await asyncio.wait([future], timeout=TAKE_BACK)
            if future.done():
                future.exception()  # nobody asks for it any more
            raise
        finally:
            self._waiting.pop(number, None)

    @property
    def closed(self) -> bool:
        return self._reading.done()

    async def wait_closed(self) -> None:
        """Returns when the supervisor has gone."""
        await asyncio.wait([self._reading])

    async def close(self) -> None:
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        await self._channel.close()


async def ask(path: Path, verb: str, **args: Any) -> Any:
    """One request to the supervisor at `path`, on a connection of its own. Raises as `connect` and `request` do."""
    client = await ControlClient.connect(path)
    try:
        return await client.request(verb, **args)
    finally:
        await client.close()
