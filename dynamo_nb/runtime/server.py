"""Where a worker is reached, and by which handlers its endpoints are served; `session` has one caller's connection."""

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
from dynamo_nb.runtime.session import Session

if TYPE_CHECKING:
    from dynamo_nb.runtime.nats_plane import NatsListener

LONGEST_SOCKET_PATH: Final = 107  # bytes, of Linux's sockaddr_un


class Server:
    """Where a worker listens, and the handlers that it has, by path `namespace/component/endpoint`."""

    def __init__(self, instance_id: int, worker_id: str, key: bytes | None, tls: ssl.SSLContext | None = None) -> None:
        self.instance_id, self.worker_id, self.key = instance_id, worker_id, key
        self._tls = tls
        self.handlers: dict[str, Handler] = {}
        self.meters = Meters()
        self.draining = False
        self.socket: str | None = None
        self.port: int | None = None
        self.subject: str | None = None
        self._on_nats: NatsListener | None = None
        self.sessions: set[Session] = set()
        self.stopping: set[asyncio.Task[None]] = set()  # of requests that nobody waits for any more
        self.half_open = 0
        self._listening: list[asyncio.AbstractServer] = []
        self._accepted = 0

    async def start_on_nats(self, nats: Any, lease: float) -> None:
        """Takes connections over NATS."""
        from dynamo_nb.runtime.nats_plane import NatsListener

        self._on_nats = NatsListener(nats, self.instance_id, self._session, lease)
        await self._on_nats.start()
        self.subject = self._on_nats.subject

    async def start(self, socket_dir: Path | None, host: str | None) -> None:
        """Listens on a Unix socket in `socket_dir` and on a free TCP port of `host`, each where given."""
        loop = asyncio.get_running_loop()
        if socket_dir is not None:
            private_folder(socket_dir)
            path = str(socket_dir / f"{self.instance_id:x}.sock")
            if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
                raise StartError(
                    f"the path of a Unix socket may have {LONGEST_SOCKET_PATH} bytes: {path}",
                    where=str(socket_dir),
                    remedy="choose a shorter folder for sockets",
                )
            self._listening.append(await loop.create_unix_server(self._session, path))
            self.socket = path
        if host is not None:
            patience = HANDSHAKE_TIMEOUT if self._tls is not None else None
            server = await loop.create_server(self._session, host, 0, ssl=self._tls, ssl_handshake_timeout=patience)
            self._listening.append(server)
            self.port = server.sockets[0].getsockname()[1]

    def _session(self) -> Session:
        self._accepted += 1
        return Session(self, self._accepted)

    async def drain(self) -> None:
        """Refuses new requests, so that clients ask another instance, and waits until those in hand have ended."""
        self.draining = True
        while tasks := self.tasks:
            await asyncio.wait(tasks)

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """Of every request that is being answered."""
        return self.stopping.union(*(session.tasks for session in self.sessions))

    async def close(self) -> None:
        """Stops listening, cancels what is running, and closes the connections."""
        self.draining = True
        for listening in self._listening:
            listening.close()
        if self._on_nats is not None:
            await self._on_nats.stop()
        if self.socket is not None:
            Path(self.socket).unlink(missing_ok=True)
        sessions = list(self.sessions)
        for session in sessions:
            session.stop_all()
            session.close()
        if tasks := self.tasks:
            await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)
        await wait_closed(sessions)
