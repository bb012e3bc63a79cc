"""HTTP ports: each service with HTTP endpoints gets its own, held for it as long as the deployment lives."""

from __future__ import annotations

import errno
import socket

import psutil

from dynamo_nb.errors import PlacementError

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8000
_TRIES = 200


class Ports:
    """Gives out ports from `first` on; 0 lets the system choose.

    asked: whether a person named `first`, and wants no other for the first service. Else the next free one does, as
    when two notebooks serve side by side; `remarks` then tells of it.

    A port is held by a bound socket that does not listen. Workers bind the same port with SO_REUSEPORT, so that an old
    and a new version can both accept while one replaces the other.
    """

    def __init__(self, host: str = DEFAULT_HOST, first: int = DEFAULT_PORT, *, asked: bool = True) -> None:
        self.host, self.first, self.asked = host, first, asked
        self.remarks: list[str] = []
        self._held: dict[str, socket.socket] = {}

    def of(self, service: str, configured: int | None = None) -> tuple[str, int]:
        """The (host, port) of a service, taken now if it has none.

        configured: the port that the service's own configuration names; one that was asked for goes before it.
        Raises PlacementError that names the owner of a port that was asked for, or configured, and is taken.
        """
        if service not in self._held and configured and not self.asked:
            self._held[service] = self._exactly(configured, f"give {service} another `port`, or stop its owner")
        if service not in self._held:
            first = not self._held
            held = self._held[service] = self._take()
            if first and self.first not in {0, port := held.getsockname()[1]}:
                self.remarks = [f"port {self.first} is taken by {_owner(self.first)}: {service} is on {port}"]
        return self.host, self._held[service].getsockname()[1]

    def release(self, service: str) -> None:
        if (held := self._held.pop(service, None)) is not None:
            held.close()

    def _take(self) -> socket.socket:
        if self.first == 0:
            return _bind(self.host, 0)
        for port in range(self.first, self.first + _TRIES):
            if any(held.getsockname()[1] == port for held in self._held.values()):
                continue
            try:
                return _bind(self.host, port)
            except OSError as error:
                # Only the port that was asked for must be had; the next services take what is free after it.
                if (self.asked or error.errno != errno.EADDRINUSE) and not self._held:
                    remedy = "choose another with --http-port (0 takes a free one) or DYNAMO_PORT, or stop its owner"
                    raise self._refused(port, error, remedy) from None
        raise PlacementError(
            f"no port from {self.first} to {self.first + _TRIES - 1} is free",
            where=f"HTTP endpoints on {self.host}",
            remedy="choose another first one with --http-port (0 takes free ones) or DYNAMO_PORT",
        )

    def _exactly(self, port: int, remedy: str) -> socket.socket:
        try:
            return _bind(self.host, port)
        except OSError as error:
            raise self._refused(port, error, remedy) from None

    def _refused(self, port: int, error: OSError, remedy: str) -> PlacementError:
        taken = error.errno == errno.EADDRINUSE
        what = f"port {port} is taken by {_owner(port)}" if taken else f"port {port}: {error.strerror}"
        return PlacementError(what, where=f"HTTP endpoints on {self.host}:{port}", remedy=remedy)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if port:
        with socket.socket(family, socket.SOCK_STREAM) as probe:  # alone on the port, or this raises
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        held.bind((host, port))  # without SO_REUSEADDR, so that the probe of another deployment finds it taken
    except OSError:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # another program's last connections linger here
        held.bind((host, port))
    return held


def _owner(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return "another user's process"
