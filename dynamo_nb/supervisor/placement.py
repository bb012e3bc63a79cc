"""Placement of workers: their GPUs, ports, files and environment on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dynamo_nb.control import state_dir
from dynamo_nb.control.release import Release
from dynamo_nb.errors import PlacementError
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.runtime.connection_settings import ConnectionSettings
from dynamo_nb.sdk.service_config import VARIABLE
from dynamo_nb.supervisor.desired import Slot
from dynamo_nb.supervisor.ending_deployments import EndingDeployments
from dynamo_nb.supervisor.gpu_allocator import GpuAllocator
from dynamo_nb.supervisor.ports import Ports, configured_port
from dynamo_nb.worker.launch import KEEP_ALIVE, Assignment, Launch, version_of

_NOT_INHERITED: Final = {"JPY_PARENT_PID", "JPY_SESSION_NAME"}
"""Environment variables of the notebook's kernel that would mislead a worker's kernel."""


@dataclass
class Placement:
    """Places the workers of one deployment.

    Attributes:
        folder: folder of the deployment.
        access: settings to connect workers to each other.
        worker_host: address on which they listen for other machines; None for this machine only.
        kernels: True if they are Jupyter kernels.
        shared: True if every deployment in their namespace may call them.
        ports: ports of HTTP endpoints.
        gpus: GPUs of this machine.
        ending: deployments that end, whose ports and GPUs are waited for.
    """

    folder: Path
    access: ConnectionSettings
    worker_host: str | None
    kernels: bool
    shared: bool
    ports: Ports
    gpus: GpuAllocator
    ending: EndingDeployments = field(default_factory=EndingDeployments)
    _count: int = 0

    def reserve_port(self, spec: GraphSpec, service: str, awaited: Collection[int] = ()) -> None:
        """Reserves the port of a service, if it has HTTP endpoints. Raises PlacementError if it is in use.

        Args:
            spec: GraphSpec of the release.
            service: its name.
            awaited: see `Ports.reserve`.
        """
        if spec.services[service].http:
            self.ports.reserve(service, configured_port(spec.config, service), awaited)

    def launch(self, release: Release, slot: Slot, prefer: Iterable[str] = ()) -> Launch:
        """Allocates GPUs to a new worker, until `free`, and describes how to start it.

        Args:
            release: release that it runs.
            slot: its place in its service.
            prefer: ids of the GPUs to take first.

        Raises:
            PlacementError: too few GPUs are free.
        """
        spec, name = release.spec, slot.service
        service = spec.services[name]
        self._count += 1
        worker_id = f"{name}.{slot.index}.{self._count}"
        http = self.ports.reserve(name) if service.http else None
        gpus = self.gpus.take(worker_id, service.gpu, prefer)
        environ = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
        environ[VARIABLE] = json.dumps(spec.config)
        # Hidden from a service that asks for no GPU: it must not use one that is allocated to another.
        environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the order of NVML
        environ.update(service.envs)
        return Launch(
            assignment=Assignment(
                service=name,
                worker_id=worker_id,
                targets={n: s.target for n, s in spec.services.items() if s.target},
                bindings={n: s.bindings for n, s in spec.services.items()},
                enabled={n: s.enabled for n, s in spec.services.items()},
                access=self.access,
                graph=self.folder.name,
                shared=self.shared,
                own=sorted(f"{s.namespace}/{s.name}" for s in spec.started.values()),
                version=version_of(spec.fingerprint(name)),
                capacity={"gpus": gpus, "cpu": service.cpu, "memory": service.memory},
                socket_dir=str(self.folder / "sockets"),
                folder=str(self.folder),
                host=self.worker_host,
                http=http,
                timeout=service.traffic.get("timeout"),
                keep_alive=service.traffic.get("keep_alive", KEEP_ALIVE),
            ),
            control=str(self.folder / state_dir.CONTROL),
            log=str(self.folder / "logs" / f"{name}.{slot.index}.log"),
            environ=environ,
            path=release.path,
            cwd=release.cwd,
            connection_file=str(self.folder / "kernels" / f"{self._count:x}.json") if self.kernels else "",
            listener=self.ports.socket_of(name) if service.http else None,
        )

    def hold(self, worker_id: str, amount: float, gpus: Iterable[str]) -> None:
        """Allocates GPUs to a worker that has ended, for its successor, if they are still free.

        Args:
            worker_id: its id.
            amount: number of whole GPUs, or a share of one.
            gpus: ids of the GPUs.
        """
        with suppress(PlacementError, OSError):
            self.gpus.take(worker_id, amount, gpus)

    @property
    def warnings(self) -> tuple[str, ...]:
        """For users."""
        return (*self.ports.warnings, *self.gpus.warnings, *self.ending.warnings)

    def close(self) -> None:
        """Releases all ports and GPUs."""
        self.ports.close()
        self.gpus.close()

    def free(self, worker_id: str) -> None:
        """Frees the GPUs of a worker."""
        self.gpus.free(worker_id)
