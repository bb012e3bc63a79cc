"""Starts workers as kernels of jupyter_client: a kernel provisioner that forks them from the fork server.

Each method of the provisioner mirrors `subprocess.Popen`, as jupyter_client's base class requires.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

from dynamo_nb.control.processes import kill_group
from dynamo_nb.supervisor.forkserver import exited, fork
from dynamo_nb.worker.launch import Launch


class WorkerProvisioner(LocalProvisioner):  # type: ignore[misc]
    """Starts a kernel as a worker. jupyter_client makes one for each kernel and calls its methods.

    `AsyncKernelManager.start_kernel(launch=…, forked=…)` passes its arguments on to `launch_kernel`.
    """

    worker: ForkServerProcess | None = None

    @property
    def has_process(self) -> bool:
        return self.worker is not None

    async def launch_kernel(
        self,
        cmd: list[str],  # noqa: ARG002
        *,
        launch: Launch,
        forked: Callable[[ForkServerProcess], None],
        **_: Any,
    ) -> Any:
        """Forks the worker.

        Args:
            cmd: command of the kernel spec, not used.
            launch: parameters of the worker's process.
            forked: called with the process at once: `start_kernel` sleeps before it returns, and the worker may have
                to be killed meanwhile.
        """
        self.worker = fork(replace(launch, connection_file=self.parent.connection_file))
        forked(self.worker)
        self.pid = self.pgid = self.worker.pid
        return self.connection_info

    async def poll(self) -> int | None:
        return self.worker.exitcode if self.worker is not None else 0

    async def wait(self) -> int | None:
        return await exited(self.worker) if self.worker is not None else 0

    async def send_signal(self, signum: int) -> None:
        if self.worker is not None and self.worker.pid is not None:
            kill_group(self.worker.pid, signum)

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002
        if self.worker is not None:
            self.worker.terminate()


class _Manager(AsyncKernelManager):  # type: ignore[misc]
    """Starts a kernel through the provisioner, without a kernel spec on disk."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(argv=[""], metadata={"kernel_provisioner": {"provisioner_name": "dynamo-worker"}})

    def cleanup_connection_file(self) -> None:
        """Keeps the file, with which clients connect: jupyter_client removes it when a manager is garbage-collected."""

    def _connect_control_socket(self) -> None:
        """Does nothing: a worker is stopped over its lifeline."""


async def start_kernel(launch: Launch, forked: Callable[[ForkServerProcess], None]) -> None:
    """Starts a worker as a kernel, with a connection file at `launch.connection_file`.

    Args:
        launch: parameters of the worker's process.
        forked: called with the process as soon as it exists.
    """
    manager = _Manager(connection_file=launch.connection_file, transport="ipc", ip=f"{launch.connection_file[:-5]}-ipc")
    manager.transport_encryption = "disabled"  # the sockets are in a folder that only their user can enter
    await manager.start_kernel(launch=launch, forked=forked, env=dict(launch.environ))
