"""The kernel provisioner: jupyter_client's way to start a process, filled with forked workers.

Each method mirrors `subprocess.Popen`, as jupyter_client's base class asks.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from typing import Any

from jupyter_client.provisioning import LocalProvisioner

from dynamo_nb.deploy.process import Launch, run

_FORKS = multiprocessing.get_context("forkserver")


def warm_up() -> None:
    """Starts the process that workers are forked from; it imports what they all need while others wait for it."""
    from multiprocessing import forkserver

    _FORKS.set_forkserver_preload(["dynamo_nb.deploy.preload"])
    forkserver.ensure_running()


def fork(launch: Launch) -> ForkServerProcess:
    """Starts a worker's process."""
    process = _FORKS.Process(target=run, args=(launch,), name=launch.assignment.worker_id)
    process.start()
    return process


async def exited(process: ForkServerProcess) -> int:
    """Waits for the process to end, without a thread; gives its exit code, negative for a signal."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()
    return process.exitcode or 0


def kill_group(pid: int, signum: int = signal.SIGKILL) -> None:
    """Signals the whole process group that the worker leads, which outlives the worker itself."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


class WorkerProvisioner(LocalProvisioner):  # type: ignore[misc]
    """Starts a kernel as a worker.

    `start_kernel(launch=…, forked=…)`: what the worker is to run, and who is given its process at once: `start_kernel`
    sleeps before it returns, and meanwhile the worker may have to be killed.
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
