"""An instance: what one worker registers for one component."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any, Final

import msgspec


def _host_id() -> str:
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    return boot_id.read_text().strip() if boot_id.exists() else f"{uuid.getnode():x}"


HOST_ID: Final = _host_id()
"""Identifies this host until it reboots. Processes with the same value can share Unix sockets."""


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's registration of one component's endpoints.

    Attributes:
        instance_id: Unique number of the worker's runtime.
        worker_id: Name of the worker in its deployment.
        namespace: Namespace of the component.
        component: Name of the component.
        endpoints: Names of the endpoints that the worker serves.
        lease: Seconds without a heartbeat after which the instance counts as gone.
        host_id: The worker's `HOST_ID`.
        socket: Path of the worker's Unix socket, for clients with the same `host_id`.
        host: Address of the worker's TCP port.
        port: The worker's TCP port.
        tls: True if the TCP port is encrypted.
        subject: NATS subject at which the worker accepts connections.
        graph: Id of the worker's deployment.
        shared: True if other deployments that serve this component may call the instance.
        version: Fingerprint of the worker's code and configuration.
        info: JSON schemas of each endpoint (`input`, `output`), or other plain data.
        capacity: Resources of the worker (`gpus`, `cpu`, `memory`).
        once: Endpoints that must not receive the same request twice.
    """

    instance_id: int
    worker_id: str
    namespace: str
    component: str
    endpoints: tuple[str, ...]
    lease: float
    host_id: str = HOST_ID
    socket: str | None = None
    host: str | None = None
    port: int | None = None
    tls: bool = False
    subject: str | None = None
    graph: str = ""
    shared: bool = False
    version: str = ""
    info: dict[str, Any] = {}
    capacity: dict[str, Any] = {}
    once: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The address of the component, in the form that `DistributedRuntime.endpoint` reads."""
        return f"dynamo://{self.namespace}/{self.component}"

    @property
    def key(self) -> str:
        """The key of this instance in the bucket of instances."""
        return f"{key_prefix(self.namespace, self.component)}{self.instance_id}"


def key_prefix(namespace: str, component: str) -> str:
    """Returns what the keys of all instances of a component begin with."""
    return f"{_subject_token(namespace)}.{_subject_token(component)}."


def _subject_token(name: str) -> str:
    """Returns the name as one token of a NATS subject: other characters become `=` and hexadecimal."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda m: "".join(f"={byte:02x}" for byte in m[0].encode()), name)
