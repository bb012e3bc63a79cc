"""The fork server: the process that workers are forked from, which has imported what they need.

It is the one of `multiprocessing`. A worker is ready several times faster than in a new interpreter. Workers go on when
the fork server ends, such as by an out-of-memory killer: the supervisor adopts them.
"""

from __future__ import annotations

import multiprocessing
import os
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dynamo_nb.worker.launch import Launch

_UNKNOWN: Final = 255
"""The exit code that `multiprocessing` reports for every process of a fork server that has ended."""
_PAUSE: Final = 0.5
"""Seconds before the fork server is started again, which may end again at once."""

_FORKS = multiprocessing.get_context("forkserver")

_OF_WORKERS = (
    "dynamo_nb.supervisor.preload",
    "nats.aio.client",
    "nats.js.api",
    "uvloop",
    "dynamo_nb.worker.worker_main",
)
_OF_KERNELS = (
    "dynamo_nb.worker.kernel",
    # Imported by every kernel at its start. multiprocessing skips a module that a version of IPython does not have.
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "faulthandler",
    "tornado.platform.asyncio",
)
_OF_HTTP = (
    "fastapi",
    "dynamo_nb.runtime.http",
    "dynamo_nb.runtime.http_server",
    # Imported by uvicorn when it starts to serve.
    "uvicorn.lifespan.on",
    "uvicorn.protocols.websockets.auto",
)


def warm_up(*, kernels: bool, http: bool) -> None:
    """Starts the fork server.

    Args:
        kernels: True to import what kernels need.
        http: True to import what HTTP endpoints need. Without it each such worker imports it after the fork.
    """
    _FORKS.set_forkserver_preload([*_OF_WORKERS, *(_OF_KERNELS if kernels else ()), *(_OF_HTTP if http else ())])
    forkserver.ensure_running()


def fork(launch: Launch) -> ForkServerProcess:
    """Starts a worker's process."""
    from dynamo_nb.worker.worker_main import run

    process = _FORKS.Process(target=run, args=(launch,), name=launch.assignment.worker_id)
    process.start()
    return process


async def keep_running() -> None:
    """Starts the fork server again whenever it ends, until cancelled."""
    import asyncio  # slow to import; `warm_up` comes first in a supervisor and does not need it

    from dynamo_nb.control.processes import ended
    from dynamo_nb.supervisor.tasks import persist

    while True:
        await ended(forkserver._forkserver._forkserver_pid)  # type: ignore[attr-defined]
        print("the process that workers are forked from ended: starting another; the workers go on", flush=True)
        await asyncio.sleep(_PAUSE)
        await persist("starting the process that workers are forked from", _ensure_running)


async def exited(process: ForkServerProcess) -> int:
    """Waits for a process to end, without a thread. Returns its exit code, negative for a signal."""
    import asyncio

    from dynamo_nb.control.processes import ended

    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(process.sentinel, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()
    code, pid = process.exitcode or 0, process.pid
    if code == _UNKNOWN and pid is not None:
        await ended(pid)
        with suppress(ChildProcessError):  # it is no child of this process: the fork server has reported the code
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])  # noqa: ASYNC222 (it has ended)
    return code


async def _ensure_running() -> None:
    forkserver.ensure_running()
