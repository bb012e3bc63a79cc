"""The client side of the control socket, for notebooks, the command line and probes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dynamo_nb.control.channel import Channel
from dynamo_nb.control.events import Event, ServiceError, errors_from, event_from, events_from
from dynamo_nb.control.framing import MAX_LINE
from dynamo_nb.control.status import ClientStatus, Status
from dynamo_nb.errors import ConnectError, from_wire

CANCEL_LIMIT = 5.0
"""Seconds to wait for the supervisor to undo a cancelled request. New workers end sooner, old ones may drain longer."""


class ControlClient:
    """A client's connection to a supervisor. It belongs to one event loop.

    Args:
        channel: the connection.
        on_status: called with each new status, after `watch` was called.
        on_event: called with each new event, after `watch` was called.
    """

    def __init__(
        self,
        channel: Channel,
        on_status: Callable[[Status], None] | None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self._channel = channel
        self._on_status, self._on_event = on_status, on_event
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(
        cls,
        path: Path,
        on_status: Callable[[Status], None] | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> ControlClient:
        """Connects to the control socket at `path`. Raises ConnectError if no supervisor listens there."""
        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE)
        except OSError as error:
            raise ConnectError(
                "the supervisor of this deployment does not answer",
                where=f"{path} ({error.strerror})",
                remedy="it has stopped: serve the graph again; `dynamo ps` lists the deployments that run",
            ) from None
        return cls(Channel(reader, writer), on_status, on_event)

    async def _read(self) -> None:
        async for message in self._channel:
            if "event" in message:
                if self._on_status is not None:
                    self._on_status(Status.from_data(message["event"]))
                continue
            if "happened" in message:
                if self._on_event is not None:
                    self._on_event(event_from(message["happened"]))
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
                    ConnectError(
                        "the supervisor ended before it answered", remedy="`dynamo ps` lists the deployments that run"
                    )
                )
        self._waiting.clear()
        await self._channel.close()

    async def request(self, verb: str, **args: Any) -> Any:
        """Sends a request and returns the supervisor's answer.

        A request that is cancelled returns once the supervisor has undone it, or has completed it.

        Args:
            verb: name of the request; the supervisor's verbs are in `supervisor/supervisor.py`.
            args: arguments of the verb, as plain data.

        Returns:
            Plain data.

        Raises:
            DynamoError: the error that the supervisor answered with.
            ConnectError: the supervisor has ended.
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
            await asyncio.wait([future], timeout=CANCEL_LIMIT)
            if future.done():
                future.exception()  # retrieved, so that asyncio does not log it
            raise
        finally:
            self._waiting.pop(number, None)

    async def status(self) -> Status:
        """Returns the status now. Raises what `request` does."""
        return Status.from_data(await self.request("status"))

    async def watch(self, client: ClientStatus | None = None) -> Status:
        """Subscribes to statuses and events: `on_status` and `on_event` are called with them.

        Args:
            client: description of this process for other clients; None to hide it.

        Returns:
            The current status.
        """
        described = client and {"pid": client.pid, "title": client.title}
        return Status.from_data(await self.request("watch", client=described, events=self._on_event is not None))

    async def events(self, after: int = 0) -> list[Event]:
        """Returns events, oldest first. Raises the errors of `request`.

        Args:
            after: only events with a greater number.
        """
        return events_from(await self.request("events", after=after))

    async def errors(self, service: str = "") -> list[ServiceError]:
        """Returns the last errors of services, latest first. Raises the errors of `request`.

        Args:
            service: the service; "" for all services.
        """
        return errors_from(await self.request("errors", service=service))

    async def change(self, verb: str, **args: Any) -> Status:
        """Requests a change of the deployment and returns the status after it. Raises what `request` does."""
        return Status.from_data(await self.request(verb, **args))

    @property
    def closed(self) -> bool:
        return self._reading.done()

    async def wait_closed(self) -> None:
        """Returns when the supervisor has ended, or the connection was closed."""
        await asyncio.wait([self._reading])

    async def close(self) -> None:
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        await self._channel.close()


async def ask(path: Path, verb: str, **args: Any) -> Any:
    """Sends one request to the supervisor at `path`, over a new connection. Raises what `connect` and `request` do."""
    client = await ControlClient.connect(path)
    try:
        return await client.request(verb, **args)
    finally:
        await client.close()


async def ask_status(path: Path) -> Status:
    """The status that the supervisor at `path` reports. Raises ConnectError if it does not answer."""
    return Status.from_data(await ask(path, "status"))
