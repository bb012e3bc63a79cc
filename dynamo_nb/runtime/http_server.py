"""The HTTP server of a worker: uvicorn on the worker's event loop, without its listening sockets and its shutdown.

All workers of a service accept from one listening socket, which their supervisor holds. A worker that stops leaves the
queue of the socket to the other workers, or to its successor. With a socket of its own, the kernel would reset the
connections in its queue.

A kept connection is closed with an answer that says so, or when it has not been used for a while. A client that
sends its next request at once would meet a connection that is being closed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from dynamo_nb.errors import DynamoError
from dynamo_nb.runtime.call_context import CURRENT
from dynamo_nb.runtime.http_bounds import WaitingTime, longest_waiting, most_connections, waits_for_client
from dynamo_nb.runtime.http_request import App, HttpRequest
from dynamo_nb.runtime.http_traffic import HttpTraffic
from dynamo_nb.runtime.meters import CALLER_GONE, CANCELLED

BACKLOG: Final = 1024  # connections in the queue of the listening socket
LINGER: Final = 1.0  # seconds without a request after which a connection is closed while the server stops
YIELD_STEP, LONGEST_YIELD = 0.0002, 0.002  # seconds to leave a new connection to other workers: per own connection
CONNECTIONS_PER_ACCEPT: Final = 8  # own connections for which one more is accepted at a time
RETRY_ACCEPT: Final = 1.0  # seconds after an error, such as too many open files
TICK: Final = 1.0  # seconds between two updates of the `date` header

logger = logging.getLogger(__name__)


class _Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """A connection that knows when it was last used, and whose end ends the work for its request.

    Args:
        server: The server that accepted it.
    """

    def __init__(self, server: _Server) -> None:
        super().__init__(config=server.config, server_state=server.server_state, app_state=server.lifespan.state)
        self._server = server
        self._application: App = server.config.loaded_app
        self.app = self._answer
        self._requests: set[HttpRequest] = set()
        self._lost = asyncio.Event()
        self.used_at = self.loop.time()
        self.waiting = WaitingTime(server.config.timeout_keep_alive, self.used_at)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        request = HttpRequest(scope, self._server.timeout, self._server.traffic)

        async def sending(message: Any) -> None:
            if self._server.should_exit and message["type"] == "http.response.start":
                headers = [(name, text) for name, text in message.get("headers", ()) if name.lower() != b"connection"]
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
            await send(message)

        async def receiving() -> Any:
            message = await receive()
            if not message.get("more_body"):
                self.flow.resume_reading()  # uvicorn pauses after a large part: the end of the client would not be seen
            return message

        self._requests.add(request)
        try:
            if not await request.answer(self._application, scope, receiving, sending):
                self.transport.abort()
                await self._lost.wait()
        finally:
            self._requests.discard(request)

    def stop_requests(self, reason: str) -> None:
        """Cancels the work for answers that are not complete."""
        for request in list(self._requests):
            request.stop(reason)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.used_at = self.loop.time()
        super().connection_made(transport)
        self._server.make_room(self)

    def data_received(self, data: bytes) -> None:
        self.used_at = self.loop.time()
        super().data_received(data)
        self.waiting.received(self.used_at, complete=self._answers)

    def on_response_complete(self) -> None:
        self.used_at = self.loop.time()
        self.waiting.answered(self.used_at)
        super().on_response_complete()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._lost.set()
        self.stop_requests(CALLER_GONE)
        self._server.changed.set()

    @property
    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def is_late(self) -> bool:
        """True if its client takes too long for a request."""
        return waits_for_client(self) and self.waiting.is_over(self.loop.time())

    def closes_in(self) -> float | None:
        """Seconds until it has been idle for LINGER; None while a request is answered."""
        if self._answers:
            return None
        return float(self.used_at + LINGER - self.loop.time())


class _Acceptor:
    """Accepts connections from a listening socket that other processes accept from too.

    The kernel wakes all of them. A worker with connections leaves a new one to the others for a moment, so that the one
    with the fewest takes it. Otherwise one worker would take all connections of a burst.

    Args:
        listener: The socket.
        protocol: Makes the protocol of a connection.
        count: Returns the number of own connections.
    """

    def __init__(
        self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol], count: Callable[[], int]
    ) -> None:
        self._listener, self._protocol, self._count = listener, protocol, count
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None
        self._stopped = False
        self.opening: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Listens, and accepts connections from now on."""
        self._listener.setblocking(False)
        # For connections that linger after the service has ended. Set before, another socket could be bound here too.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.listen(BACKLOG)
        self._loop.add_reader(self._listener.fileno(), self._on_readable)

    def stop(self) -> None:
        """Accepts no more connections."""
        if not self._stopped:
            self._stopped = True
            self._pause()
            self._listener.close()

    def _pause(self) -> None:
        self._loop.remove_reader(self._listener.fileno())
        if self._later is not None:
            self._later.cancel()

    def _on_readable(self) -> None:
        if count := self._count():
            self._pause()
            self._later = self._loop.call_later(min(count * YIELD_STEP, LONGEST_YIELD), self._resume)
        else:
            self._accept(1)

    def _resume(self) -> None:
        self._loop.add_reader(self._listener.fileno(), self._on_readable)
        self._accept(1 + self._count() // CONNECTIONS_PER_ACCEPT)

    def _accept(self, most: int) -> None:
        for _ in range(most):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                logger.warning("no HTTP connection is accepted for %g s: %s", RETRY_ACCEPT, error)
                self._pause()
                self._later = self._loop.call_later(RETRY_ACCEPT, self._retry)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._open(connection))
            self.opening.add(task)
            task.add_done_callback(self.opening.discard)

    def _retry(self) -> None:
        try:
            self.start()
        except OSError:
            self._later = self._loop.call_later(RETRY_ACCEPT, self._retry)

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # the client has gone
            connection.close()


class _Server(uvicorn.Server):
    """Accepts with an `_Acceptor`, and leaves the process's signals to the worker."""

    def __init__(
        self,
        app: App,
        listener: socket.socket,
        keep_alive: float,
        timeout: float | None,
        traffic: HttpTraffic | None,
    ) -> None:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=keep_alive,  # type: ignore[arg-type] # which may be a float
        )
        super().__init__(config)
        self.accepting, self.stopping, self.changed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.timeout, self.traffic = timeout, traffic
        self.grace: float | None = None
        self._listener = listener

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        try:
            await super().startup(sockets=[])  # the application's own startup
        except SystemExit:
            self.should_exit = True
        if self.should_exit:
            raise DynamoError("the HTTP application did not start", remedy="see its error in the worker's log")
        self._acceptor = _Acceptor(
            self._listener, lambda: _Connection(self), lambda: len(self.server_state.connections)
        )
        self._acceptor.start()
        self.accepting.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            for connection in [one for one in self._own_connections if one.is_late]:
                connection.transport.abort()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self.stopping.wait()

    @property
    def _own_connections(self) -> list[_Connection]:
        """The connections without WebSockets."""
        return [one for one in self.server_state.connections if isinstance(one, _Connection)]

    def make_room(self, new: _Connection) -> None:
        """Closes the connection that has waited longest for its client, or the new one, if there are too many."""
        if len(self.server_state.connections) > (most := most_connections()):
            connections = [one for one in self._own_connections if not one.transport.is_closing()]
            if len(connections) > most:
                longest_waiting(connections, new).transport.abort()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        self._acceptor.stop()
        try:
            async with asyncio.timeout(self.grace):
                await self._drain()
        except TimeoutError:
            for connection in self._own_connections:
                connection.stop_requests(CANCELLED)
            for task in self.server_state.tasks:  # also those of WebSockets, and background tasks
                task.cancel()
        await self.lifespan.shutdown()

    async def _drain(self) -> None:
        """Returns when every connection is closed and every request has ended."""
        if self._acceptor.opening:
            await asyncio.wait(self._acceptor.opening)
        for connection in list(self.server_state.connections):
            if not isinstance(connection, _Connection):
                connection.shutdown()  # a WebSocket, which has a closing message of its own
        while connections := list(self.server_state.connections):
            self.changed.clear()
            left = LINGER
            for connection in connections:
                seconds = connection.closes_in() if isinstance(connection, _Connection) else None
                if seconds is not None and seconds <= 0:
                    connection.shutdown()
                elif seconds is not None:
                    left = min(left, seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.changed.wait()
        while self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks)


def _is_new(record: logging.LogRecord) -> bool:
    """False for the traceback of a repeated exception, see `RecordedErrors`. Uvicorn would log it each time."""
    return not (record.exc_info and isinstance(request := CURRENT.get(), HttpRequest) and request.repeated)


class HttpServer:
    """Serves an application on the current event loop.

    Args:
        app: An ASGI application.
        listener: A bound socket, which other workers may share.
        keep_alive: Seconds after which an unused connection is closed.
        timeout: Seconds for the complete answer to a request, or None.
        traffic: Counts the requests of each route, or None.
    """

    def __init__(
        self,
        app: Any,
        listener: socket.socket,
        keep_alive: float,
        timeout: float | None = None,
        traffic: HttpTraffic | None = None,
    ) -> None:
        self._server = _Server(app, listener, keep_alive, timeout, traffic)
        logging.getLogger("uvicorn.error").addFilter(_is_new)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when connections are accepted. Raises DynamoError if the application's own startup fails."""
        self._task = asyncio.create_task(self._server.serve())
        accepting = asyncio.create_task(self._server.accepting.wait())
        await asyncio.wait([self._task, accepting], return_when=asyncio.FIRST_COMPLETED)
        accepting.cancel()
        if self._task.done():
            await self._task

    async def stop(self, grace: float | None = None) -> None:
        """Accepts no more connections, answers the open requests and closes each connection when it is idle.

        Args:
            grace: Seconds after which open requests are cancelled, or None to wait without limit.
        """
        if self._task is not None:
            self._server.grace = grace
            self._server.should_exit = True
            self._server.stopping.set()
            await self._task
