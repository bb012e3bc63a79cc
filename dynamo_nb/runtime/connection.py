"""The client's end of a connection to a worker, which carries all requests between the two processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dynamo_nb.errors import DynamoError, InvalidArgument, ProtocolError, WorkerLost, from_wire
from dynamo_nb.runtime.frames import Frames
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
from dynamo_nb.runtime.inbox import Inbox
from dynamo_nb.runtime.instance import Instance
from dynamo_nb.runtime.meters import Meter
from dynamo_nb.runtime.wire import CANCEL, END, ERROR, HELLO, ITEM, MAX_FRAME, MAX_HELLO, OPEN, VERSION


class HandshakeError(ConnectionError):
    """The worker was reached, and one end did not accept the other.

    Attributes:
        error: The error that the caller receives.
    """

    def __init__(self, error: DynamoError) -> None:
        super().__init__(error.what)
        self.error = error


class Connection(Frames):
    """The client's end of a connection to the worker of one instance.

    Args:
        instance: The instance.
        key: The key of the deployment's secret, or None.
        lost: Called once when the connection has ended, for any reason.

    Attributes:
        instance: The instance.
        thread: Identifier of the event loop's thread.
        accepted: Result of the handshake: True if the worker is accepted, False if the connection ended before.
    """

    def __init__(self, instance: Instance, key: bytes | None, lost: Callable[[Connection], None]) -> None:
        super().__init__()
        self.instance = instance
        self.thread = threading.get_ident()
        self.accepted: asyncio.Future[bool] = self.loop.create_future()
        self._key, self._lost = key, lost
        self._nonce: bytes | None = None
        self._streams: dict[int, Inbox] = {}
        self._last = 0
        self._handshake_error: DynamoError | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if is_local(transport):
            if not is_own(transport):
                self._handshake_error = ProtocolError(
                    f"the socket of {self._worker} belongs to another user", where=str(self.instance.socket)
                )
                self.abort()
                return
            self._key = None
        if self._key is not None:
            self._nonce = new_nonce()
            self.limit = MAX_HELLO
        self.send((HELLO, 0, VERSION, self._nonce))

    async def wait_accepted(self) -> None:
        """Waits until the worker has proved that it knows the secret, if there is one.

        Raises:
            HandshakeError: One end did not accept the other.
            ConnectionResetError: The worker closed the connection without a reason.
        """
        if self._key is None and not self.closed:
            return
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                if await asyncio.shield(self.accepted):
                    return
        except TimeoutError:
            self._handshake_error = ProtocolError(
                f"{self._worker} did not authenticate in time", where=self.instance.address
            )
        self.abort()
        if self._handshake_error is None and not self.fault:
            raise ConnectionResetError(f"{self._worker} closed the connection")
        raise HandshakeError(self._loss())

    def _on_handshake(self, kind: Any, message: Any) -> None:
        """Processes a frame that belongs to no stream."""
        if kind == ERROR:
            self._handshake_error = from_wire(message[2])
        elif kind != HELLO or self.accepted.done():
            raise ValueError(f"a frame of kind {kind!r} of no stream")
        elif self._key is None:
            self.accepted.set_result(True)
        else:
            worker_nonce: Any = message[3] if len(message) == 5 else b""
            if not proves(message[-1], self._key, WORKER, self.instance.instance_id, self._nonce, worker_nonce):
                self._handshake_error = ProtocolError(
                    f"{self._worker} does not know the secret of this deployment",
                    where=self.instance.address,
                    remedy="connect to the same NATS with the same `secret`",
                )
                self.abort()
                return
            assert self._nonce is not None
            self.send((HELLO, 0, proof(self._key, CALLER, self.instance.instance_id, self._nonce, worker_nonce)))
            self.limit = MAX_FRAME
            self.accepted.set_result(True)

    def open(
        self,
        path: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        headers: Mapping[str, str],
        meter: Meter,
        start: float,
    ) -> Inbox:
        """Sends a request.

        Args:
            path: `namespace/component/endpoint`.
            args: Positional arguments.
            kwargs: Keyword arguments.
            headers: Text sent with the arguments.
            meter: Counts the request.
            start: Result of `meter.begin`.

        Raises:
            InvalidArgument: An argument cannot be sent.
        """
        self._last = stream = self._last + 1
        try:
            meter.bytes_out += self.send((OPEN, stream, path, args, kwargs, headers))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            unfit = InvalidArgument(
                f"an argument cannot be sent: {error}",
                where=f"dynamo://{path}",
                remedy="pass plain data, models, dataclasses or arrays; pass large files by path",
            )
            unfit.kind = "call"
            raise unfit from error
        inbox = self._streams[stream] = Inbox(self, stream, meter, start)
        if self.closed:
            del self._streams[stream]
            inbox.end(self._loss(), retry=True)
        return inbox

    @property
    def in_flight(self) -> int:
        """Number of requests that the worker has not answered."""
        return len(self._streams)

    def cancel(self, stream: int) -> None:
        """Cancels a request."""
        if self._streams.pop(stream, None) is not None:
            self.send((CANCEL, stream))

    def on_frame(self, message: Any, length: int) -> None:
        kind, stream = message[0], message[1]
        inbox = self._streams.get(stream)
        if inbox is None:
            if stream == 0:
                self._on_handshake(kind, message)
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

    def on_disconnect(self) -> None:
        if not self.accepted.done():
            self.accepted.set_result(False)
        self._lost(self)
        streams, self._streams = self._streams, {}
        for inbox in streams.values():
            inbox.end(self._loss(), retry=not inbox.started and not self.fault)

    @property
    def _worker(self) -> str:
        return f"worker {self.instance.worker_id} of {self.instance.address}"

    def _loss(self) -> DynamoError:
        worker = self._worker
        if self._handshake_error is not None:
            return self._handshake_error
        if self.fault:
            return ProtocolError(f"{worker} sent bytes that are not a frame: {self.fault}", where=self.instance.address)
        return WorkerLost(
            f"{worker} ended before its answer was complete",
            where=self.instance.address,
            remedy=f"`dynamo logs {self.instance.component}` shows why it ended; the work may have been done",
        )
