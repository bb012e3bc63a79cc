"""The process that workers are forked from, and the processes that it gives.

It imports what workers need once, while others wait for it. `multiprocessing` has it; here are its uses.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dynamo_nb.worker.worker_main import Launch

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
    # What a kernel imports while it is made; one that is missing in another version of IPython is passed over.
    "ipykernel.debugger",
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
    # What uvicorn imports when it begins to serve.
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)


def warm_up(*, kernels: bool, http: bool) -> None:
    """Starts the process. kernels, http: it imports what kernels and HTTP endpoints need too.

    A worker that needs what was not imported here imports it itself, later and each for itself.
    """
    _FORKS.set_forkserver_preload([*_OF_WORKERS, *(_OF_KERNELS if kernels else ()), *(_OF_HTTP if http else ())])
    forkserver.ensure_running()


def fork(launch: Launch) -> ForkServerProcess:
    """Starts a worker's process."""
    from dynamo_nb.worker.worker_main import run

    process = _FORKS.Process(target=run, args=(launch,), name=launch.assignment.worker_id)
    process.start()
    return process


async def exited(process: ForkServerProcess) -> int:
    """Waits for the process to end, without a thread; gives its exit code, negative for a signal."""
    import asyncio  # not for `warm_up`, which is what a supervisor begins with

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
