"""Data that the supervisor passes to a new worker."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dynamo_nb.runtime.connection_settings import ConnectionSettings

KEEP_ALIVE: Final = 75.0
"""Seconds after which an unused HTTP connection is closed: longer than proxies keep theirs, which is mostly 60 s."""


@dataclass(frozen=True)
class Assignment:
    """The service of one worker, and its connections.

    Attributes:
        service: its name.
        worker_id: unique within the deployment.
        targets: service name to `module:Class`, for the service and its dependencies.
        bindings: service name to its attributes and the services that they are connected to; None if not active.
        access: settings to connect to other workers.
        graph: id of the deployment.
        shared: True if every deployment in its namespace may call it.
        own: components that its deployment serves, see `DistributedRuntime.connect`.
        version: version of its code and configuration, see `version_of`; registered with its endpoints.
        capacity: its resources, registered with its endpoints.
        socket_dir: folder of the sockets for connections on this host.
        folder: for files of the services; removed with the deployment.
        host: address to listen on for other machines; None for this machine only.
        http: host and port of its HTTP endpoints.
        enabled: service name to False, for services that run inside their callers.
        timeout: seconds for the complete answer to a request; None for no limit.
        keep_alive: seconds after which an unused HTTP connection is closed.
    """

    service: str
    worker_id: str
    targets: Mapping[str, str]
    bindings: Mapping[str, Mapping[str, str | None]]
    access: ConnectionSettings
    graph: str = ""
    shared: bool = False
    own: Sequence[str] = ()
    version: str = ""
    capacity: Mapping[str, Any] = field(default_factory=dict)
    socket_dir: str | None = None
    folder: str | None = None
    host: str | None = None
    http: tuple[str, int] | None = None
    enabled: Mapping[str, bool] = field(default_factory=dict)
    timeout: float | None = None
    keep_alive: float = KEEP_ALIVE


def version_of(fingerprint: str) -> str:
    """The version that instances register, from the fingerprint of their service."""
    return fingerprint[:12]


@dataclass(frozen=True)
class Launch:
    """Parameters of the process of a worker.

    Attributes:
        assignment: service to run.
        control: path of the control socket.
        log: path of its log.
        environ: its environment, complete.
        path: folders to put before `sys.path`.
        cwd: working directory.
        connection_file: connection file of its kernel; "" for a worker that is not a kernel.
        listener: socket from which it accepts HTTP connections, with the other workers of its service; None without
            HTTP endpoints.
    """

    assignment: Assignment
    control: str
    log: str
    environ: dict[str, str] = field(repr=False)
    path: Sequence[str] = ()
    cwd: str = "."
    connection_file: str = ""
    listener: socket.socket | None = None
