"""HTTP ports: each service with HTTP endpoints has its own, reserved for as long as the deployment lives."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Final

import psutil

from dynamo_nb.control.options import HTTP_HOST, HTTP_PORT
from dynamo_nb.errors import PlacementError
from dynamo_nb.sdk.service_config import ServiceConfig
from dynamo_nb.supervisor.ending_deployments import holder_of_port

_TRIES: Final = 200
_LAST_PORT: Final = 65535


def configured_port(config: Mapping[str, Mapping[str, Any]], service: str) -> int | None:
    """Returns the port in the configuration of a service, as its constructor receives it; None for no port.

    Args:
        config: sections by service, as in `GraphSpec.config`.
        service: name of the service.
    """
    value = ServiceConfig(config).get(service, {}).get("port")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value) if int(value) == float(value) else None
    except (ValueError, OverflowError):
        return None


class Ports:
    """Reserves ports, from `first` on.

    A port is reserved by a bound socket, which is passed to each worker of the service. They listen, and accept from
    one queue. Connections in it wait while one worker replaces another.

    Attributes:
        host: address of HTTP endpoints.
        first: the first port; 0 lets the system choose.
        required: True if the first service must get `first`. Else the next free port does, as when two notebooks serve
            side by side, with a warning.
        warnings: for users.
    """

    def __init__(self, host: str = HTTP_HOST, first: int = HTTP_PORT, *, required: bool = True) -> None:
        self.host, self.first, self.required = host, first, required
        self.warnings: list[str] = []
        self._held: dict[str, socket.socket] = {}

    @property
    def held(self) -> tuple[int, ...]:
        """The reserved ports."""
        return tuple(held.getsockname()[1] for held in self._held.values())

    def reserve(self, service: str, configured: int | None = None, awaited: Collection[int] = ()) -> tuple[str, int]:
        """Reserves a port for a service, unless it has one.

        Args:
            service: its name.
            configured: the port that the service's own configuration names; a required `first` takes precedence.
            awaited: ports that will be free soon. No other port is taken in their place.

        Returns:
            The host and the port.

        Raises:
            PlacementError: a required, configured or awaited port is in use. It names what uses it.
        """
        if service not in self._held and configured and not self.required:
            self._held[service] = self._exactly(
                configured, f"choose another `port` for {service}, or stop the process that uses it"
            )
        if service not in self._held:
            first = not self._held
            held = self._held[service] = self._take(awaited)
            if first and self.first not in {0, port := held.getsockname()[1]}:
                self.warnings = [f"port {self.first} is in use by {_user(self.first)}: {service} listens on {port}"]
        return self.host, self._held[service].getsockname()[1]

    def socket_of(self, service: str) -> socket.socket:
        """The socket of a service that has a port."""
        return self._held[service]

    def refuse(self, service: str) -> None:
        """Refuses connections to a service that has no worker, until one listens again."""
        held = self._held.get(service)
        if held is not None and held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            held.shutdown(socket.SHUT_RDWR)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)

    def release(self, service: str) -> None:
        """Releases the port of a service, if it has one."""
        if (held := self._held.pop(service, None)) is not None:
            held.close()

    def close(self) -> None:
        """Releases all ports."""
        for service in list(self._held):
            self.release(service)

    def _take(self, awaited: Collection[int]) -> socket.socket:
        if self.first == 0:
            return _bind(self.host, 0)
        for port in range(self.first, self.first + _TRIES):
            if port in self.held:
                continue
            try:
                return _bind(self.host, port)
            except OSError as error:
                # Only the first service requires its port; the next ones take a free port after it.
                first = (self.required or error.errno != errno.EADDRINUSE) and not self._held
                if first or port in awaited:
                    remedy = (
                        "choose another port with --http-port (0 takes a free one) or DYNAMO_PORT, "
                        "or stop the process that uses it"
                    )
                    raise self._refused(port, error, remedy) from None
        raise PlacementError(
            f"no port from {self.first} to {self.first + _TRIES - 1} is free",
            where=f"HTTP endpoints on {self.host}",
            remedy="choose another first port with --http-port (0 takes free ones) or DYNAMO_PORT",
        )

    def _exactly(self, port: int, remedy: str) -> socket.socket:
        if not 0 < port <= _LAST_PORT:
            where, remedy = f"HTTP endpoints on {self.host}", f"use a port from 1 to {_LAST_PORT}"
            raise PlacementError(f"{port} is not a port", where=where, remedy=remedy)
        try:
            return _bind(self.host, port)
        except OSError as error:
            raise self._refused(port, error, remedy) from None

    def _refused(self, port: int, error: OSError, remedy: str) -> PlacementError:
        in_use = error.errno == errno.EADDRINUSE
        what = f"port {port} is in use by {_user(port)}" if in_use else f"port {port}: {error.strerror}"
        return PlacementError(what, where=f"HTTP endpoints on {self.host}:{port}", remedy=remedy)


def _bind(host: str, port: int) -> socket.socket:
    """A socket bound to a port, or to a free one for 0. Raises OSError if another process uses it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if port:
        return _bind_exactly(family, host, port)
    for _ in range(_TRIES):
        # Bound by its number: the kernel frees a port that it chose as soon as the socket stops listening.
        with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as drawn:
            drawn.bind((host, 0))
            port = drawn.getsockname()[1]
            drawn.close()
            return _bind_exactly(family, host, port)
    return _bind_exactly(family, host, 0)


def _bind_exactly(family: int, host: str, port: int) -> socket.socket:
    """A socket bound to a port, in whose place no other socket can be bound."""
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        try:
            held.bind((host, port))
        except OSError:  # another program's last connections may linger here
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((host, port))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        held.close()
        raise
    return held


def _user(port: int) -> str:
    if (holder := holder_of_port(port)) is not None:
        return f"the deployment {holder.id}"
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return "a process that is not visible here"
