"""The fork server: the process that workers are forked from, which has imported what they need.

It is the one of `multiprocessing`. A worker is ready several times faster than in a new interpreter.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dynamo_nb.worker.launch import Launch

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


async def exited(process: ForkServerProcess) -> int:
    """Waits for a process to end, without a thread. Returns its exit code, negative for a signal."""
    import asyncio  # slow to import; `warm_up` comes first in a supervisor and does not need it

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()
    return process.exitcode or 0
