"""The server of a worker: where it listens, and the handlers of its endpoints."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dynamo_nb.errors import StartError
from dynamo_nb.runtime.frames import CLOSE_TIMEOUT, wait_closed
from dynamo_nb.runtime.handshake import HANDSHAKE_TIMEOUT, private_folder
from dynamo_nb.runtime.meters import Meters
from dynamo_nb.runtime.request import Handler
from dynamo_nb.runtime.server_connection import ServerConnection

if TYPE_CHECKING:
    from dynamo_nb.runtime.nats_plane import NatsListener

LONGEST_SOCKET_PATH: Final = 107  # bytes, of Linux's sockaddr_un


class Server:
    """Accepts connections from callers and holds the handlers of the endpoints.

    Args:
        instance_id: The worker's instance.
        worker_id: The worker's name in its deployment.
        key: The key of the deployment's secret, or None.
        tls: Encrypts TCP connections.

    Attributes:
        handlers: The handlers, by path `namespace/component/endpoint`.
        meters: The meters of the endpoints, by path.
        draining: True if new requests are rejected.
        timeout: Seconds for the complete answer to a request, or None.
        socket: Path of the Unix socket, or None.
        port: TCP port, or None.
        subject: NATS subject at which connections are accepted, or None.
        connections: The connections from callers.
        half_open: Number of connections whose peer has not authenticated.
        stopping: Tasks of requests whose answer is no longer needed.
    """

    def __init__(self, instance_id: int, worker_id: str, key: bytes | None, tls: ssl.SSLContext | None = None) -> None:
        self.instance_id, self.worker_id, self.key = instance_id, worker_id, key
        self._tls = tls
        self.handlers: dict[str, Handler] = {}
        self.meters = Meters()
        self.draining = False
        self.timeout: float | None = None
        self.socket: str | None = None
        self.port: int | None = None
        self.subject: str | None = None
        self.connections: set[ServerConnection] = set()
        self.half_open = 0
        self.stopping: set[asyncio.Task[None]] = set()
        self._nats_listener: NatsListener | None = None
        self._listeners: list[asyncio.AbstractServer] = []
        self._accepted = 0

    async def listen_on_nats(self, nats: Any, lease: float) -> None:
        """Accepts connections over NATS."""
        from dynamo_nb.runtime.nats_plane import NatsListener

        self._nats_listener = NatsListener(nats, self.instance_id, self._accept, lease)
        await self._nats_listener.start()
        self.subject = self._nats_listener.subject

    async def listen(self, socket_dir: Path | None, host: str | None) -> None:
        """Listens on sockets.

        Args:
            socket_dir: Folder for a Unix socket, or None.
            host: Address on which to listen at a free TCP port, or None.

        Raises:
            StartError: The path of the Unix socket is too long, or other users can enter its folder.
        """
        loop = asyncio.get_running_loop()
        if socket_dir is not None:
            private_folder(socket_dir)
            path = str(socket_dir / f"{self.instance_id:x}.sock")
            if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
                raise StartError(
                    f"the path of a Unix socket may have at most {LONGEST_SOCKET_PATH} bytes: {path}",
                    where=str(socket_dir),
                    remedy="choose a shorter folder for sockets",
                )
            self._listeners.append(await loop.create_unix_server(self._accept, path))
            self.socket = path
        if host is not None:
            timeout = HANDSHAKE_TIMEOUT if self._tls is not None else None
            server = await loop.create_server(self._accept, host, 0, ssl=self._tls, ssl_handshake_timeout=timeout)
            self._listeners.append(server)
            self.port = server.sockets[0].getsockname()[1]

    def _accept(self) -> ServerConnection:
        self._accepted += 1
        return ServerConnection(self, self._accepted)

    async def drain(self) -> None:
        """Rejects new requests, so that clients try other instances, and waits until the open ones have ended."""
        self.draining = True
        while tasks := self.tasks:
            await asyncio.wait(tasks)

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The tasks of all requests that have not ended."""
        return self.stopping.union(*(connection.tasks for connection in self.connections))

    async def close(self) -> None:
        """Stops listening, cancels all requests, and closes the connections."""
        self.draining = True
        for listener in self._listeners:
            listener.close()
        if self._nats_listener is not None:
            await self._nats_listener.stop()
        if self.socket is not None:
            Path(self.socket).unlink(missing_ok=True)
        connections = list(self.connections)
        for connection in connections:
            connection.stop_all()
            connection.close()
        if tasks := self.tasks:
            await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)
        await wait_closed(connections)
