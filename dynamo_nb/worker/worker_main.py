"""What runs inside a worker's process, from the fork to its end.

The process is forked from one that has already imported ipykernel and the runtime, which makes a worker ready several
times faster than a fresh interpreter. It leads its own process group; what it prints goes to its log file.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dynamo_nb.control.subreaper import adopt_orphans
from dynamo_nb.errors import DynamoError, to_wire
from dynamo_nb.source.tracebacks import show_cell_names
from dynamo_nb.supervisor.health_check import STACK_SIGNAL
from dynamo_nb.worker.lifeline import Lifeline, Message
from dynamo_nb.worker.worker import Assignment, Worker

_INTERNAL = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # noqa: PTH100, PTH120


@dataclass(frozen=True)
class Launch:
    """Everything a new worker process is given. environ replaces the environment; path goes before `sys.path`.

    connection_file: of its kernel; empty for a worker without one.
    """

    assignment: Assignment
    control: str
    log: str
    environ: dict[str, str] = field(repr=False)
    path: tuple[str, ...] = ()
    cwd: str = "."
    connection_file: str = ""


def run(launch: Launch) -> None:
    """Runs a worker until it is told to stop; the target of the forked process."""
    # What was imported before the fork stays shared as long as nobody writes to it, and a collection would.
    gc.freeze()
    gc.enable()
    os.setsid()
    adopt_orphans()
    log = os.open(launch.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable(2)
    faulthandler.register(STACK_SIGNAL, 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(launch.environ)
    os.chdir(launch.cwd)
    sys.path[:0] = launch.path
    show_cell_names()
    sys.argv = [f"dynamo-worker {launch.assignment.worker_id}"]
    lifeline = Lifeline(launch.control, launch.assignment.worker_id)
    try:
        import uvloop

        loop = uvloop.new_event_loop()
    except ImportError:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Worker(launch.assignment)
    life = _Life(worker, lifeline, loop)
    if launch.connection_file:
        from dynamo_nb.worker.kernel import Kernel

        kernel = Kernel(launch.connection_file)
        life.begin(kernel.bind)
        kernel.run()
    else:
        life.begin()
        loop.run_forever()
    sys.stdout.flush()
    sys.stderr.flush()


class _Life:
    """Takes the supervisor's commands to the worker, one after the other, and reports what comes of them."""

    def __init__(self, worker: Worker, lifeline: Lifeline, loop: asyncio.AbstractEventLoop) -> None:
        self._worker, self._lifeline, self._loop = worker, lifeline, loop
        self._commands: asyncio.Queue[Message] = asyncio.Queue()
        self._ending = False
        self._steps: set[asyncio.Task[None]] = set()
        self._check: asyncio.Task[None] | None = None

    def begin(self, built: Callable[[object], None] = lambda _: None) -> None:
        """built: is given the service once it has been made."""
        self._built = built
        self._loop.create_task(self._obey())
        self._loop.add_signal_handler(signal.SIGTERM, self._commands.put_nowait, {"do": "stop"})
        self._lifeline.on_command(self._commanded)

    def _commanded(self, message: Message) -> None:
        if message["do"] == "measure":  # as the next, answered by the thread that reads, also while the loop is blocked
            self._lifeline.tell(measured=self._worker.measured())
        elif message["do"] == "spans":
            self._lifeline.tell(spans=self._worker.spans(message["trace"]), trace=message["trace"])
        else:
            self._loop.call_soon_threadsafe(self._hear, message)

    def _hear(self, message: Message) -> None:
        if message["do"] != "ping":
            self._commands.put_nowait(message)
            return
        self._lifeline.tell(pulse=True)  # that the loop got here is the answer
        if self._worker.has_liveness and (self._check is None or self._check.done()):
            self._check = self._loop.create_task(self._tell_health())

    async def _tell_health(self) -> None:
        self._lifeline.tell(complaint=await self._worker.complaint())

    async def _obey(self) -> None:
        while (message := await self._commands.get())["do"] != "stop":
            step = asyncio.create_task(self._do(list(self._steps), **message))
            self._steps.add(step)
            step.add_done_callback(self._steps.discard)
        self._ending = True
        if steps := list(self._steps):
            for step in steps:
                step.cancel()
            await asyncio.wait(steps)
        self._lifeline.tell(state="draining")
        await self._worker.stop(message.get("grace"))
        self._lifeline.tell(measured=self._worker.measured())
        self._lifeline.tell(spans=self._worker.spans(), trace=None)
        self._loop.stop()

    async def _do(self, before: list[asyncio.Task[None]], do: str, **given: Any) -> None:
        if before:
            await asyncio.wait(before)
        if do == "begin":
            await self._prepare()
        elif do == "serve":
            await self._serve()
        else:
            await self._reconfigure(**given)

    async def _prepare(self) -> None:
        try:
            await self._worker.prepare()
        except BaseException as error:  # a cancelled task of the service's own among them
            if self._ending:
                raise
            self._fail(error)
        else:
            self._built(self._worker.instance)
            self._lifeline.tell(state="prepared")

    async def _serve(self) -> None:
        try:
            url = await self._worker.serve()
        except BaseException as error:  # a cancelled task of the service's own among them
            if self._ending:
                raise
            self._fail(error)
        else:
            runtime = self._worker.runtime
            self._lifeline.tell(state="ready", url=url, instance_id=str(runtime.instance_id) if runtime else "")

    async def _reconfigure(self, number: int, config: str, version: str) -> None:
        try:
            await self._worker.reconfigure(config, version)
        except BaseException as error:  # a cancelled task of the service's own among them
            if self._ending:
                raise
            self._tell_error(error, reconfigured=False, number=number)
        else:
            self._lifeline.tell(reconfigured=True, number=number)

    def _fail(self, error: BaseException) -> None:
        self._tell_error(error, state="failed")

    def _tell_error(self, error: BaseException, **what: Any) -> None:
        """Reports the user's lines, and the whole traceback to the log."""
        sys.stdout.flush()
        sys.stderr.flush()
        printed = os.fstat(2).st_size
        traceback.print_exception(error)
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_INTERNAL)]
        frames = [f for f in frames if not f.filename.startswith("<frozen importlib")]
        lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames)] if frames else []
        shown = "".join([*lines, *traceback.format_exception_only(error)])
        known: dict[str, Any] = to_wire(error) if isinstance(error, DynamoError) else {}
        first = f"{type(error).__name__}: {error}".splitlines()[0]
        self._lifeline.tell(**what, error=first, traceback=shown, cause=known, printed=printed)
