"""The client's end: one connection to each worker, carrying every stream between the two processes.

`Inbox` holds what has arrived for one request. There is no task and no queue per call: the protocol puts frames in the
inbox and wakes the one reader, if it waits.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from dynamo_nb.errors import DynamoError, InvalidArgument, ProtocolError, WorkerLost, from_wire
from dynamo_nb.runtime.breaker import Breaker
from dynamo_nb.runtime.connection_settings import Plane
from dynamo_nb.runtime.discovery import HOST_ID, Instance
from dynamo_nb.runtime.frames import (
    CANCEL,
    CREDIT,
    END,
    ERROR,
    GRANT,
    HELLO,
    ITEM,
    ITEM_COST,
    MAX_FRAME,
    MAX_HELLO,
    OPEN,
    VERSION,
    Frames,
    keep_alive,
    wait_closed,
)
from dynamo_nb.runtime.handshake import (
    CALLER,
    HANDSHAKE_TIMEOUT,
    WORKER,
    is_local,
    is_own,
    new_nonce,
    proof,
    proves,
)
from dynamo_nb.runtime.meters import Meter

CONNECT_TIMEOUT: Final = 5.0  # seconds for a TCP connection; a host that is gone answers nothing


class Refused(ConnectionError):
    """A worker was reached, and one end did not accept the other. `error`: what the caller gets."""

    def __init__(self, error: DynamoError) -> None:
        super().__init__(error.what)
        self.error = error


class Grant(NamedTuple):
    """Stands among the items of an inbox where the caller, having taken those before it, allows as much again."""

    room: int


class Inbox:
    """What has arrived for one request.

    items: what was not taken yet, with a Grant here and there (`answer` takes everything, and has none). begun: an item
    has come. done: nothing more will come. error: why, when it ended badly. meter: counts what comes. retry: the
    request may be given to another instance. single: the one item is the answer.
    """

    __slots__ = (
        "_begun",
        "_connection",
        "_owed",
        "_stream",
        "_timer",
        "_waiter",
        "_whole",
        "begun",
        "done",
        "error",
        "items",
        "meter",
        "retry",
        "single",
    )

    def __init__(self, connection: Connection, stream: int, meter: Meter, begun: float) -> None:
        self._connection, self._stream = connection, stream
        self.meter, self._begun = meter, begun
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._whole = False
        self._owed = 0
        self.items: deque[Any] = deque()
        self.begun = self.done = self.single = self.retry = False
        self.error: DynamoError | None = None

    def put(self, value: Any, length: int) -> None:
        meter = self.meter
        meter.items += 1
        meter.bytes_in += length
        if not self.begun:
            self.begun = True
            meter.first_item(self._begun)
        self.items.append(value)
        self._owed += length + ITEM_COST
        if self._owed >= GRANT:
            self._grant()
        if self._waiter is not None and not self._whole:
            self._wake()

    def _grant(self) -> None:
        grant, self._owed = Grant(self._owed), 0
        if self._whole:
            self.allow(grant)
        else:
            self.items.append(grant)

    def allow(self, grant: Grant) -> None:
        if not self.done:
            self._connection.send((CREDIT, self._stream, grant.room))

    def end(self, error: DynamoError | None = None, *, retry: bool = False) -> None:
        self.done, self.error, self.retry = True, error, retry
        if self._timer is not None:
            self._timer.cancel()
        if self._waiter is not None:
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def wait(self) -> None:
        """Waits for the next thing to arrive."""
        waiter = self._waiter = self._connection.loop.create_future()
        await waiter

    def end_in(self, seconds: float, error: Callable[[], DynamoError]) -> None:
        """Ends the request with this error if nothing else has ended it in this time."""
        self._timer = self._connection.loop.call_later(seconds, self._expire, error)

    def _expire(self, error: Callable[[], DynamoError]) -> None:
        if not self.done:
            self._connection.cancel(self._stream)
            self.end(error())

    async def answer(self) -> Any:
        """The one answer, or the list of a stream's items. Raises the error that ended the request."""
        self._whole = True
        if not self.done:
            await self.wait()
        if self.error is not None:
            raise self.error
        return self.items[0] if self.single else list(self.items)

    def close(self) -> None:
        """Tells the worker to stop, if it has not ended. Safe from any thread, so that an iterator can be collected."""
        if self.done:
            return
        if threading.get_ident() == self._connection.thread:
            self._connection.cancel(self._stream)
        elif not self._connection.loop.is_closed():
            self._connection.loop.call_soon_threadsafe(self._connection.cancel, self._stream)
        self.done = True
        if self._timer is not None:
            self._timer.cancel()


class Connection(Frames):
    """A connection to the worker of one instance.

    lost: called once when the connection has ended, whoever ended it.
    """

    def __init__(self, instance: Instance, key: bytes | None, lost: Callable[[Connection], None]) -> None:
        super().__init__()
        self.instance = instance
        self.thread = threading.get_ident()
        self.greeted: asyncio.Future[bool] = self.loop.create_future()
        self._key, self._lost = key, lost
        self._nonce: bytes | None = None
        self._streams: dict[int, Inbox] = {}
        self._last = 0
        self._refusal: DynamoError | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if is_local(transport):
            if not is_own(transport):
                self._refusal = ProtocolError(
                    f"the socket of {self._worker} is another user's", where=str(self.instance.socket)
                )
                self.abort()
                return
            self._key = None
        if self._key is not None:
            self._nonce = new_nonce()
            self.limit = MAX_HELLO
        self.send((HELLO, 0, VERSION, self._nonce))

    async def accepted(self) -> None:
        """Waits until the worker has shown that it knows the secret, where that is asked for. Raises OSError."""
        if self._key is None and not self.closed:
            return
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                if await asyncio.shield(self.greeted):
                    return
        except TimeoutError:
            self._refusal = ProtocolError(f"{self._worker} did not say who it is", where=self.instance.address)
        self.abort()
        if self._refusal is None and not self.fault:
            raise ConnectionResetError(f"{self._worker} closed the connection")
        raise Refused(self._loss())

    def _greet(self, kind: Any, message: Any) -> None:
        """Takes a frame that is of no stream."""
        if kind == ERROR:
            self._refusal = from_wire(message[2])
        elif kind != HELLO or self.greeted.done():
            raise ValueError(f"a frame of kind {kind!r} of no stream")
        elif self._key is None:
            self.greeted.set_result(True)
        else:
            theirs: Any = message[3] if len(message) == 5 else b""
            if not proves(message[-1], self._key, WORKER, self.instance.instance_id, self._nonce, theirs):
                self._refusal = ProtocolError(
                    f"{self._worker} does not know the secret of this deployment",
                    where=self.instance.address,
                    remedy="connect to the same NATS with the same `secret`",
                )
                self.abort()
                return
            assert self._nonce is not None
            self.send((HELLO, 0, proof(self._key, CALLER, self.instance.instance_id, self._nonce, theirs)))
            self.limit = MAX_FRAME
            self.greeted.set_result(True)

    def open(
        self,
        path: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        headers: Mapping[str, str],
        meter: Meter,
        begun: float,
    ) -> Inbox:
        """Sends a request; `begun` as the meter gave it. Raises InvalidArgument when an argument cannot travel."""
        self._last = stream = self._last + 1
        try:
            meter.bytes_out += self.send((OPEN, stream, path, args, kwargs, headers))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidArgument(
                f"an argument cannot be sent: {error}",
                where=f"dynamo://{path}",
                remedy="pass plain data, models, dataclasses or arrays; large files by path",
            ) from error
        inbox = self._streams[stream] = Inbox(self, stream, meter, begun)
        if self.closed:
            del self._streams[stream]
            inbox.end(self._loss(), retry=True)
        return inbox

    @property
    def in_flight(self) -> int:
        """The requests that the worker has not answered."""
        return len(self._streams)

    def cancel(self, stream: int) -> None:
        if self._streams.pop(stream, None) is not None:
            self.send((CANCEL, stream))

    def frame(self, message: Any, length: int) -> None:
        kind, stream = message[0], message[1]
        inbox = self._streams.get(stream)
        if inbox is None:
            if stream == 0:
                self._greet(kind, message)
            elif kind not in (ITEM, END, ERROR):
                raise ValueError(f"a frame of kind {kind!r}")
            return  # of a stream that was cancelled
        if kind == ITEM:
            inbox.put(message[2], length)
        elif kind == END:
            del self._streams[stream]
            inbox.meter.bytes_in += length
            if len(message) == 3:
                inbox.single = True
                inbox.items.append(message[2])
            inbox.end()
        elif kind == ERROR:
            inbox.meter.bytes_in += length
            error, retry = from_wire(message[2]), bool(message[3])
            del self._streams[stream]
            inbox.end(error, retry=retry)
        else:
            raise ValueError(f"a frame of kind {kind!r}")

    def ended(self) -> None:
        if not self.greeted.done():
            self.greeted.set_result(False)
        self._lost(self)
        streams, self._streams = self._streams, {}
        for inbox in streams.values():
            inbox.end(self._loss(), retry=not inbox.begun and not self.fault)

    @property
    def _worker(self) -> str:
        return f"worker {self.instance.worker_id} of {self.instance.address}"

    def _loss(self) -> DynamoError:
        worker = self._worker
        if self._refusal is not None:
            return self._refusal
        if self.fault:
            return ProtocolError(f"{worker} sent what is no frame: {self.fault}", where=self.instance.address)
        return WorkerLost(
            f"{worker} went away before its answer was complete",
            where=self.instance.address,
            remedy=f"`dynamo logs {self.instance.component}` shows why it ended; the work may have been done",
        )


class Connections:
    """The connections of one process: at most one to each worker, made when first needed.

    lost: called with the instance whose connection has ended. plane: "direct" (a Unix socket or TCP, NATS where the
    worker has neither) or "nats". tls: of TCP connections.
    """

    def __init__(
        self, key: bytes | None, plane: Plane, tls: ssl.SSLContext | None, lost: Callable[[Instance], None]
    ) -> None:
        self._key, self._plane, self._tls, self._lost = key, plane, tls, lost
        self.nats: Any = None
        self.breaker = Breaker()
        self._open: dict[int, Connection] = {}
        self._opening: dict[int, asyncio.Task[Connection]] = {}
        self._closed = False

    def get(self, instance: Instance) -> Connection | None:
        return self._open.get(instance.instance_id)

    async def connect(self, instance: Instance) -> Connection:
        """The connection to this instance's worker. Raises OSError when it cannot be reached, or Refused."""
        key = instance.instance_id
        if (connection := self._open.get(key)) and not connection.closed:
            return connection
        if self._closed:
            raise ConnectionAbortedError("this runtime is closed")
        task = self._opening.get(key)
        if task is None:
            task = self._opening[key] = asyncio.create_task(self._connect(instance))
            task.add_done_callback(lambda _: self._opening.pop(key, None))
        return await asyncio.shield(task)

    async def _connect(self, instance: Instance) -> Connection:
        self.breaker.begins(instance)
        try:
            connection = await self._reach(instance)
        except (OSError, TimeoutError):
            self.breaker.failed(instance)
            raise
        connection.greeted.add_done_callback(
            lambda greeted: self.breaker.succeeded(instance) if greeted.result() else self.breaker.failed(instance)
        )
        try:
            await connection.accepted()
        except BaseException:
            connection.abort()
            raise
        if not connection.closed:
            self._open[instance.instance_id] = connection
        return connection

    async def _reach(self, instance: Instance) -> Connection:
        loop = asyncio.get_running_loop()

        def make() -> Connection:
            return Connection(instance, self._key, self._ended)

        direct = self._plane == "direct"
        if direct and instance.socket and instance.host_id == HOST_ID and Path(instance.socket).exists():
            _, connection = await loop.create_unix_connection(make, instance.socket)
        elif direct and instance.host and instance.port:
            if instance.tls != (self._tls is not None):
                raise Refused(_no_tls(instance, "one end encrypts, the other does not"))
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    transport, connection = await loop.create_connection(
                        make, instance.host, instance.port, ssl=self._tls
                    )
            except ssl.SSLError as error:
                raise Refused(_no_tls(instance, str(error))) from error
            keep_alive(transport)
        elif instance.subject:
            from dynamo_nb.runtime import nats_plane

            connection = await nats_plane.connect(self.nats, instance.subject, make, instance.lease)
        else:
            raise ConnectionRefusedError(f"worker {instance.worker_id} has no address that this process can reach")
        return connection

    def _ended(self, connection: Connection) -> None:
        if self._open.get(connection.instance.instance_id) is connection:
            del self._open[connection.instance.instance_id]
        self._lost(connection.instance)

    async def close(self) -> None:
        self._closed = True
        for task in list(self._opening.values()):
            task.cancel()
        connections = list(self._open.values())
        for connection in connections:
            connection.close()
        await wait_closed(connections)


def _no_tls(instance: Instance, why: str) -> ProtocolError:
    return ProtocolError(
        f"no encrypted connection to worker {instance.worker_id} of {instance.address}: {why}",
        where=f"{instance.host}:{instance.port}",
        remedy="give both ends certificates of the same authority (`tls`)",
    )
