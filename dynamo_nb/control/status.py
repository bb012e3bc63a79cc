"""The status that a supervisor reports: of a deployment, its services and their workers.

The supervisor builds these values and sends them over the control socket. Clients read them. They are immutable.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

WorkerState = Literal["starting", "prepared", "ready", "draining", "failed", "stopped"]
"""`prepared`: the start hooks have run, and the worker does not take requests yet."""

_NOT_STARTED = ""


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One worker.

    Attributes:
        id: unique within the deployment, such as `Backend.0.3`.
        index: position among the workers of its service, from 0. A worker that replaces another has the same index.
        state: see `WorkerState`.
        pid: pid of its process; 0 before it was started.
        gpus: ids of its GPUs, as in CUDA_VISIBLE_DEVICES.
        started: seconds since the epoch.
        restarts: number of restarts at this index, after a worker there had ended by itself.
        crashes: consecutive exits shortly after start.
        url: URL of its HTTP endpoints, or "".
        instance_id: id of its registration; "" until it is ready.
        log: path of its log.
        connection_file: for Jupyter clients; "" where the worker is not a kernel.
        error: reason why it or its predecessor failed; "" if neither did.
    """

    id: str
    index: int
    state: WorkerState
    pid: int = 0
    gpus: tuple[str, ...] = ()
    started: float = 0.0
    restarts: int = 0
    crashes: int = 0
    url: str = ""
    instance_id: str = ""
    log: str = ""
    connection_file: str = ""
    error: str = ""

    @property
    def ready(self) -> bool:
        """True if it takes requests."""
        return self.state == "ready"


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One service of the graph.

    Attributes:
        state: that of its workers together; "" for a service that has no workers of its own.
        desired: number of workers it should have.
        digest: digest of its code, as "sha256:…".
        workers: workers by index, the oldest first.
    """

    state: str = _NOT_STARTED
    desired: int = 0
    digest: str = ""
    workers: tuple[WorkerStatus, ...] = ()

    @property
    def started(self) -> bool:
        """True if the deployment runs workers for it."""
        return self.state != _NOT_STARTED

    @property
    def ready_workers(self) -> tuple[WorkerStatus, ...]:
        return tuple(worker for worker in self.workers if worker.ready)

    @property
    def ready(self) -> int:
        """Number of workers that take requests."""
        return len(self.ready_workers)

    @property
    def readiness(self) -> str:
        """`2/3`: ready and desired workers."""
        return f"{self.ready}/{self.desired}"

    @property
    def restarts(self) -> int:
        """Number of restarts of its workers after they ended by themselves."""
        return sum({worker.index: worker.restarts for worker in self.workers}.values())

    @property
    def gpus(self) -> list[str]:
        """Ids of the GPUs of its workers, sorted."""
        return sorted({gpu for worker in self.workers for gpu in worker.gpus})

    @property
    def url(self) -> str:
        """URL of its HTTP endpoints, or ""."""
        return next((worker.url for worker in self.workers if worker.url), "")


class RolloutStatus(msgspec.Struct, frozen=True, kw_only=True):
    """New workers of one service while a change is under way.

    Attributes:
        desired: number of workers that the change starts.
        workers: new workers that exist already.
    """

    desired: int = 0
    workers: tuple[WorkerStatus, ...] = ()

    @property
    def ready(self) -> int:
        return sum(worker.ready for worker in self.workers)


class ClientStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A process that watches the deployment.

    Attributes:
        pid: pid of the process.
        title: its name in messages, such as a notebook's name.
    """

    pid: int
    title: str = ""

    @classmethod
    def here(cls, title: str = "") -> ClientStatus:
        """Describes the calling process."""
        return cls(pid=os.getpid(), title=title)


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment.

    Attributes:
        id: unique on this machine; the name of its folder.
        name: chosen by the user, or that of the entry service.
        folder: state directory, with its sockets, code and logs.
        pid: pid of the supervisor.
        owner: pid of the process whose life it shares; None if it is detached.
        clients: other processes that watch it.
        release: id of the release that is served.
        warnings: such as HTTP on another port than the default.
        waiting: what the current change waits for, such as a deployment that ends; "" if nothing.
        started: seconds since the epoch.
        metrics_url: the page for Prometheus.
        entry: name of the entry service.
        services: services by name, dependencies before dependants.
        rollout: new workers by service, while a change is under way.
        ended: True once the supervisor has gone. Set by the client.
    """

    id: str = ""
    name: str = ""
    folder: str = ""
    pid: int = 0
    owner: int | None = None
    clients: tuple[ClientStatus, ...] = ()
    release: str = ""
    warnings: tuple[str, ...] = ()
    waiting: str = ""
    started: float = 0.0
    metrics_url: str = ""
    entry: str = ""
    services: dict[str, ServiceStatus] = {}
    rollout: dict[str, RolloutStatus] = {}
    ended: bool = False

    @property
    def started_services(self) -> dict[str, ServiceStatus]:
        """The services that have workers of their own."""
        return {name: service for name, service in self.services.items() if service.started}

    @property
    def urls(self) -> dict[str, str]:
        """Service name to the URL of its HTTP endpoints."""
        return {name: service.url for name, service in self.services.items() if service.url}

    def updating(self, name: str) -> str:
        """Returns the progress of an update, such as `2 old serve, 0 of 2 new ready`.

        Scaling is not an update: it replaces no worker, and new workers have other indices.

        Args:
            name: the service.

        Returns:
            The text; "" if no worker is being replaced.
        """
        rollout, service = self.rollout.get(name), self.services.get(name)
        if rollout is None or service is None or any(worker.state == "failed" for worker in rollout.workers):
            return ""
        new = {worker.id for worker in rollout.workers}
        old = [worker for worker in service.ready_workers if worker.id not in new]
        if not {worker.index for worker in old} & {worker.index for worker in rollout.workers}:
            return ""
        return f"{len(old)} old serve{'s' * (len(old) == 1)}, {rollout.ready} of {rollout.desired} new ready"

    def state_of(self, name: str) -> str:
        """Returns the state of a service for display: `updating` while old workers serve until new ones are ready.

        Args:
            name: the service.
        """
        if name in self.services:
            return "updating" if self.updating(name) else self.services[name].state
        workers = self.rollout[name].workers if name in self.rollout else ()  # the first start
        return "failed" if any(worker.state == "failed" for worker in workers) else "starting"

    def readiness_of(self, name: str) -> tuple[int, int]:
        """Returns the numbers of ready and desired workers of a service, also during its first start.

        Args:
            name: the service.
        """
        if (service := self.services.get(name)) is not None:
            return service.ready, service.desired
        rollout = self.rollout.get(name, RolloutStatus())
        return rollout.ready, rollout.desired

    def stopped(self) -> Status:
        """The same deployment after its supervisor has gone: no worker is left."""
        services = {
            name: msgspec.structs.replace(service, state="stopped" if service.started else service.state, workers=())
            for name, service in self.services.items()
        }
        return msgspec.structs.replace(self, services=services, rollout={}, ended=True)

    def as_data(self) -> dict[str, Any]:
        """Plain data that JSON holds."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Status:
        """Reads what `as_data` returned."""
        return msgspec.convert(data, cls)
