"""The supervisor's side of the control socket: answers the requests of clients, and accepts its workers' lifelines."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from dynamo_nb.control.channel import Channel
from dynamo_nb.control.events import Event
from dynamo_nb.control.framing import MAX_LINE, Message
from dynamo_nb.control.status import ClientStatus, Status
from dynamo_nb.errors import DeploymentError, DynamoError, summary_of, to_wire
from dynamo_nb.supervisor.descriptors import in_reserve

Verb = Callable[..., Awaitable[Any]]


class ControlServer:
    """Serves the control socket.

    Requests of one client run side by side. A client that closes its connection cancels its requests.

    Args:
        queries: verbs whose result is the answer, by name; plain data.
        changes: verbs that are answered with the status after them, by name.
        status: returns the status now.
        follow_worker: reads a worker's reports until its connection closes; called with its id and connection.
    """

    def __init__(
        self,
        queries: Mapping[str, Verb],
        changes: Mapping[str, Verb],
        status: Callable[[], Status],
        follow_worker: Callable[[str, Channel], Awaitable[None]],
    ) -> None:
        self._queries, self._changes = queries, changes
        self._status, self._follow_worker = status, follow_worker
        self._watchers: dict[Channel, ClientStatus | None] = {}
        self._event_watchers: set[Channel] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, path: Path) -> None:
        """Opens the socket."""
        self._server = await asyncio.start_unix_server(self._connected, path, limit=MAX_LINE)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    @property
    def clients(self) -> tuple[ClientStatus, ...]:
        """The clients that watch, apart from those that did not introduce themselves."""
        return tuple(client for client in self._watchers.values() if client is not None)

    def publish(self) -> None:
        """Sends the status to every client that watches."""
        if self._watchers:
            event = {"event": self._status().as_data()}
            for channel in self._watchers:
                channel.send(event)

    def publish_event(self, event: Event) -> None:
        """Sends an event to every client that watches events.

        Args:
            event: the event.
        """
        for channel in self._event_watchers:
            channel.send({"happened": msgspec.to_builtins(event)})

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = Channel(reader, writer)
        try:
            await self._serve(channel)
        except asyncio.CancelledError:
            pass  # the supervisor ends; asyncio would print the traceback of a cancelled handler
        finally:
            await channel.close()

    async def _serve(self, channel: Channel) -> None:
        requests = _Requests(channel)
        try:
            async for message in channel:
                if "worker" in message:
                    await self._follow_worker(message["worker"], channel)
                    return
                if in_reserve(channel.descriptor):
                    channel.send({"id": message.get("id"), "error": to_wire(_too_many_clients())})
                    return
                verb, args = message.get("verb", ""), message.get("args", {})
                if verb == "watch":
                    client = args.get("client")
                    self._watchers[channel] = ClientStatus(**client) if client else None
                    if args.get("events"):  # clients of earlier versions do not know events
                        self._event_watchers.add(channel)
                    channel.send({"id": message["id"], "result": self._status().as_data()})
                elif verb == "cancel":
                    requests.cancel(args["request"])
                else:
                    requests.begin(message["id"], verb, partial(self._result, verb, args))
        finally:
            self._watchers.pop(channel, None)
            self._event_watchers.discard(channel)
            requests.cancel_all()

    async def _result(self, verb: str, args: Message) -> Any:
        if verb in self._queries:
            return await self._queries[verb](**args)
        if verb in self._changes:
            await self._changes[verb](**args)
            return self._status().as_data()
        raise DeploymentError("the supervisor does not know this request", remedy="use the same version of dynamo_nb")


def _too_many_clients() -> DeploymentError:
    return DeploymentError(
        "the supervisor has no file descriptors left for another client",
        remedy="close other clients of the deployment, or serve it with a higher limit (`ulimit -n`)",
    )


class _Requests:
    """The requests of one connection that are not answered yet."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def begin(self, number: int, verb: str, result: Callable[[], Awaitable[Any]]) -> None:
        task = self._tasks[number] = asyncio.create_task(self._answer(number, verb, result))
        task.add_done_callback(partial(self._ended, number))

    def cancel(self, number: int) -> None:
        if (task := self._tasks.get(number)) is not None:
            task.cancel()

    def cancel_all(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def _ended(self, number: int, task: asyncio.Task[None]) -> None:
        self._tasks.pop(number, None)
        if task.cancelled():
            self._channel.send({"id": number, "error": to_wire(DeploymentError("the request was cancelled"))})

    async def _answer(self, number: int, verb: str, result: Callable[[], Awaitable[Any]]) -> None:
        try:
            self._channel.send({"id": number, "result": await result()})
        except DynamoError as error:
            self._channel.send({"id": number, "error": to_wire(error)})
        except Exception as error:
            traceback.print_exc()
            fault = DeploymentError(f"the supervisor failed at {verb}: {summary_of(error)}")
            self._channel.send({"id": number, "error": to_wire(fault)})
