"""The worker's end of a connection to a caller: its handshake and its open requests, each a task."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Any, Final, Protocol

from dynamo_nb.errors import DeadlineExceeded, NoInstances, ProtocolError, to_wire
from dynamo_nb.runtime.call_context import TIMEOUT, earlier, timeout_of
from dynamo_nb.runtime.call_errors import deadline_exceeded, no_such_endpoint
from dynamo_nb.runtime.frames import Frames
from dynamo_nb.runtime.handshake import (
    CALLER,
    HANDSHAKE_TIMEOUT,
    NONCE,
    WORKER,
    is_local,
    is_own,
    new_nonce,
    proof,
    proves,
)
from dynamo_nb.runtime.keepalive import keep_alive
from dynamo_nb.runtime.meters import CALLER_GONE, CANCELLED, Meters
from dynamo_nb.runtime.open_request import OpenRequest
from dynamo_nb.runtime.request import Handler
from dynamo_nb.runtime.wire import CANCEL, CREDIT, ERROR, HELLO, MAX_FRAME, MAX_HELLO, OPEN, VERSION

LONGEST_PATH: Final = 1024  # characters of `namespace/component/endpoint`
MAX_CONNECTIONS: Final = 4096
MAX_HALF_OPEN: Final = 256  # connections whose peer has not authenticated
MAX_REQUESTS: Final = 65_536  # that one caller may have open

logger = logging.getLogger(__name__)


class AcceptingServer(Protocol):
    """The interface of a server for the connections that it accepted.

    Attributes:
        instance_id: The worker's instance.
        worker_id: The worker's name in its deployment.
        key: The key of the deployment's secret, or None.
        handlers: The handlers of the endpoints, by path.
        meters: The meters of the endpoints, by path.
        draining: True if new requests are rejected.
        timeout: Seconds for the complete answer to a request, or None.
        connections: All connections of the server.
        half_open: Number of connections whose peer has not authenticated.
        stopping: Tasks of requests whose answer is no longer needed.
    """

    instance_id: int
    worker_id: str
    key: bytes | None
    handlers: dict[str, Handler]
    meters: Meters
    draining: bool
    timeout: float | None
    connections: set[ServerConnection]
    half_open: int
    stopping: set[asyncio.Task[None]]


class ServerConnection(Frames):
    """The worker's end of a connection to a caller.

    Attributes:
        instance_id: The worker's instance.
        number: Number of the connection among those of this worker.
        requests: The open requests, each with its task, by stream. A request does not know its task, which knows the
            request: such a cycle would be left to the garbage collector.
    """

    limit = MAX_HELLO

    def __init__(self, server: AcceptingServer, number: int) -> None:
        super().__init__()
        self.instance_id, self.number = server.instance_id, number
        self.requests: dict[int, tuple[asyncio.Task[None], OpenRequest]] = {}
        self._server = server
        self._authenticated = self._half_open = False
        self._local = False
        self._nonces = b"", b""  # the caller's and ours, once they are drawn
        self._timer: asyncio.TimerHandle | None = None

    # --- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        server = self._server
        if len(server.connections) >= MAX_CONNECTIONS or server.half_open >= MAX_HALF_OPEN:
            self._refuse("this worker has too many connections")
            return
        server.connections.add(self)
        server.half_open += 1
        self._half_open = True
        self._local = is_local(transport)
        if self._local and not is_own(transport):
            self._refuse("its process belongs to another user")
            return
        self._timer = self.loop.call_later(
            HANDSHAKE_TIMEOUT, self._refuse, f"it did not authenticate within {HANDSHAKE_TIMEOUT:g} s"
        )
        keep_alive(transport)

    def _refuse(self, reason: str) -> None:
        peer = self._transport.get_extra_info("peername") if self._transport else None
        logger.warning("closing a connection (peer %s): %s", peer or "local", reason)
        self.abort()

    def _no_longer_half_open(self) -> None:
        if self._half_open:
            self._server.half_open -= 1
            self._half_open = False
        if self._timer is not None:
            self._timer.cancel()

    def on_disconnect(self) -> None:
        self._no_longer_half_open()
        self._server.connections.discard(self)
        self.stop_all(CALLER_GONE)

    def pause_writing(self) -> None:
        # A caller that does not read its answers gets no new requests accepted.
        super().pause_writing()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._transport is not None and not self.closed and not self._transport.is_closing():
            self._transport.resume_reading()

    # --- frames

    def on_frame(self, message: Any, length: int) -> None:
        kind = message[0]
        if not self._authenticated:
            self._on_handshake(kind, message)
        elif kind == OPEN:
            _, stream, path, args, kwargs, headers = message
            if type(stream) is not int or stream < 1 or stream in self.requests:
                raise ValueError("a malformed request")
            if type(args) is not list or type(kwargs) is not dict or type(headers) is not dict:
                raise ValueError("a malformed request")
            for name, text in headers.items():
                if type(name) is not str or type(text) is not str:
                    raise ValueError("headers that are not text")
            self._open(stream, path, args, kwargs, headers, length)
        elif kind == CANCEL:
            self._stop(message[1], CANCELLED)
        elif kind == CREDIT:
            _, stream, credit = message
            if type(credit) is not int or credit < 1:
                raise ValueError("a malformed credit")
            if entry := self.requests.get(stream):
                entry[1].add_credit(credit)
        else:
            raise ValueError(f"a frame of kind {kind!r}")

    def _on_handshake(self, kind: Any, message: Any) -> None:
        if kind != HELLO:
            raise ValueError("the first frame is not HELLO")
        key = self._server.key
        if self._nonces[0]:
            assert key is not None
            if not proves(message[2], key, CALLER, self.instance_id, *self._nonces):
                self._refuse("it does not know this deployment's secret")
                return
        elif (version := message[2]) != VERSION:
            error = ProtocolError(
                f"the worker uses version {VERSION} of the protocol, the caller version {str(version)[:20]}",
                remedy="run the same version of dynamo_nb at both ends",
            )
            self._reject(error)
            return
        elif self._local or key is None:
            self.send((HELLO, 0, VERSION))
        else:
            nonce = message[3]
            if type(nonce) is not bytes or len(nonce) != NONCE:
                error = ProtocolError(
                    "the worker requires the secret of its deployment, and the caller has none",
                    remedy="connect to the same NATS with the same `secret`",
                )
                self._reject(error)
                return
            self._nonces = nonce, new_nonce()
            self.send((HELLO, 0, VERSION, self._nonces[1], proof(key, WORKER, self.instance_id, *self._nonces)))
            return
        self._no_longer_half_open()
        self._authenticated = True
        self.limit = MAX_FRAME

    def _reject(self, error: ProtocolError) -> None:
        logger.warning("rejecting a caller: %s", error.what)
        self.send((ERROR, 0, to_wire(error), False))
        self.close()

    # --- requests

    def _open(
        self, stream: int, path: str, args: list[Any], kwargs: dict[str, Any], headers: dict[str, str], length: int
    ) -> None:
        server = self._server
        if len(path) > LONGEST_PATH:
            raise ValueError("a path that is too long")
        handler = server.handlers.get(path)
        if len(self.requests) >= MAX_REQUESTS:
            full = NoInstances(f"worker {server.worker_id} has too many open requests of this caller")
            self.send((ERROR, stream, to_wire(full), True))
        elif server.draining:
            gone = NoInstances(f"worker {server.worker_id} is stopping", where=f"dynamo://{path}", remedy="try again")
            self.send((ERROR, stream, to_wire(gone), True))
        elif handler is None:
            component = path.rpartition("/")[0] + "/"
            known = [other.removeprefix(component) for other in server.handlers if other.startswith(component)]
            self.send((ERROR, stream, to_wire(no_such_endpoint(path, known)), False))
        else:
            timeout = earlier(timeout_of(headers) if TIMEOUT in headers else None, server.timeout)
            meter = server.meters[path]
            meter.bytes_in += length
            request = OpenRequest(self, stream, path, headers, meter)
            if timeout is not None:
                request.deadline = time.monotonic() + timeout
                request.timer = self.loop.call_later(timeout, self._expire, stream)
            self.requests[stream] = self.loop.create_task(request.answer(handler, args, kwargs)), request

    @property
    def tasks(self) -> Iterable[asyncio.Task[None]]:
        """The tasks of the open requests."""
        return (task for task, _ in self.requests.values())

    def stop_all(self, reason: str = CANCELLED) -> None:
        """Cancels all open requests."""
        for stream in list(self.requests):
            self._stop(stream, reason)

    def _stop(self, stream: int, reason: str) -> None:
        if request := self._cancel(stream, reason):
            request.meter.stop(reason)

    def _expire(self, stream: int) -> None:
        if request := self._cancel(stream, DeadlineExceeded.code):
            request.fail(deadline_exceeded(request.path))

    def _cancel(self, stream: int, reason: str) -> OpenRequest | None:
        if entry := self.requests.pop(stream, None):
            task, request = entry
            request.stopped = reason
            task.cancel()
            self._server.stopping.add(task)
            task.add_done_callback(self._server.stopping.discard)
            return request
        return None
