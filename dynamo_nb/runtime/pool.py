"""The connections of one process to workers, shared by all its clients."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from dynamo_nb.errors import ProtocolError
from dynamo_nb.runtime.circuit_breaker import CircuitBreaker
from dynamo_nb.runtime.connection import Connection, HandshakeError
from dynamo_nb.runtime.connection_settings import Plane
from dynamo_nb.runtime.frames import wait_closed
from dynamo_nb.runtime.instance import HOST_ID, Instance
from dynamo_nb.runtime.keepalive import keep_alive

CONNECT_TIMEOUT: Final = 5.0  # seconds for a TCP connection; a host that vanished answers nothing


class ConnectionPool:
    """The connections of one process: at most one to each worker, opened at the first request.

    Args:
        key: The key of the deployment's secret, or None.
        plane: "direct" (a Unix socket or TCP; NATS if the worker has neither) or "nats".
        tls: Encrypts TCP connections.
        lost: Called with the instance whose connection has ended.

    Attributes:
        nats: The connected client of NATS.
        breaker: Decides which instances are skipped.
    """

    def __init__(
        self, key: bytes | None, plane: Plane, tls: ssl.SSLContext | None, lost: Callable[[Instance], None]
    ) -> None:
        self._key, self._plane, self._tls, self._lost = key, plane, tls, lost
        self.nats: Any = None
        self.breaker = CircuitBreaker()
        self._open: dict[int, Connection] = {}
        self._opening: dict[int, asyncio.Task[Connection]] = {}
        self._closed = False

    def get(self, instance: Instance) -> Connection | None:
        """Returns the open connection to an instance's worker, or None."""
        return self._open.get(instance.instance_id)

    async def connect(self, instance: Instance) -> Connection:
        """Returns the connection to an instance's worker; opens it if there is none.

        Raises:
            OSError: The worker cannot be reached.
            HandshakeError: One end did not accept the other.
        """
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
        self.breaker.started(instance)
        try:
            connection = await self._reach(instance)
        except (OSError, TimeoutError):
            self.breaker.failed(instance)
            raise
        connection.accepted.add_done_callback(
            lambda accepted: self.breaker.succeeded(instance) if accepted.result() else self.breaker.failed(instance)
        )
        try:
            await connection.wait_accepted()
        except BaseException:
            connection.abort()
            raise
        if not connection.closed:
            self._open[instance.instance_id] = connection
        return connection

    async def _reach(self, instance: Instance) -> Connection:
        loop = asyncio.get_running_loop()

        def create() -> Connection:
            return Connection(instance, self._key, self._ended)

        direct = self._plane == "direct"
        if direct and instance.socket and instance.host_id == HOST_ID and Path(instance.socket).exists():
            _, connection = await loop.create_unix_connection(create, instance.socket)
        elif direct and instance.host and instance.port:
            if instance.tls != (self._tls is not None):
                raise HandshakeError(_not_encrypted(instance, "one end encrypts, the other does not"))
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    transport, connection = await loop.create_connection(
                        create, instance.host, instance.port, ssl=self._tls
                    )
            except ssl.SSLError as error:
                raise HandshakeError(_not_encrypted(instance, str(error))) from error
            keep_alive(transport)
        elif instance.subject:
            from dynamo_nb.runtime import nats_plane

            connection = await nats_plane.connect(self.nats, instance.subject, create, instance.lease)
        else:
            raise ConnectionRefusedError(f"worker {instance.worker_id} has no address that this process can reach")
        return connection

    def _ended(self, connection: Connection) -> None:
        if self._open.get(connection.instance.instance_id) is connection:
            del self._open[connection.instance.instance_id]
        self._lost(connection.instance)

    async def close(self) -> None:
        """Closes all connections."""
        self._closed = True
        for task in list(self._opening.values()):
            task.cancel()
        connections = list(self._open.values())
        for connection in connections:
            connection.close()
        await wait_closed(connections)


def _not_encrypted(instance: Instance, reason: str) -> ProtocolError:
    return ProtocolError(
        f"no encrypted connection to worker {instance.worker_id} of {instance.address}: {reason}",
        where=f"{instance.host}:{instance.port}",
        remedy="configure certificates of the same authority at both ends (`tls`)",
    )
