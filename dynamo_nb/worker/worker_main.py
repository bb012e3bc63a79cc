"""The main function of a worker's process, from the fork to its end.

The process is forked from the fork server, which has already imported ipykernel and the runtime. It leads its own
process group, and its output goes to its log.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from dynamo_nb.control.log_writer import write_to
from dynamo_nb.control.subreaper import adopt_orphans
from dynamo_nb.control.worker_messages import (
    STACK_SIGNAL,
    Alive,
    Begin,
    Command,
    Draining,
    Failed,
    Failure,
    Http,
    Liveness,
    Measure,
    Measured,
    Ping,
    Prepared,
    Raised,
    ReadHttp,
    ReadSpans,
    Ready,
    Reconfigure,
    Reconfigured,
    Serve,
    Spans,
    Stop,
)
from dynamo_nb.errors import DynamoError, summary_of, to_wire, traceback_of
from dynamo_nb.runtime.recorded_errors import ERRORS
from dynamo_nb.source.tracebacks import show_cell_names
from dynamo_nb.worker.forked_children import separate_signals
from dynamo_nb.worker.launch import Launch
from dynamo_nb.worker.lifeline import Lifeline
from dynamo_nb.worker.worker import Worker

_INTERNAL = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # noqa: PTH100, PTH120


def run(launch: Launch) -> None:
    """Runs a worker until the supervisor stops it; the target of the forked process."""
    # Memory of the imports before the fork stays shared until it is written to, which a garbage collection would do.
    gc.freeze()
    gc.enable()
    os.setsid()
    adopt_orphans()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    write_to(Path(launch.log))
    faulthandler.enable(2)
    faulthandler.register(STACK_SIGNAL, 2)
    os.environ.clear()
    os.environ.update(launch.environ)
    os.chdir(launch.cwd)
    sys.path[:0] = launch.path
    show_cell_names()
    sys.argv = [f"dynamo-worker {launch.assignment.worker_id}"]
    if launch.listener is not None:
        launch.listener.set_inheritable(False)  # it was received from the fork server, and inheritable
    lifeline = Lifeline(launch.control, launch.assignment.worker_id)
    try:
        import uvloop

        loop = uvloop.new_event_loop()
    except ImportError:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    executor = _Executor(Worker(launch.assignment, launch.listener), lifeline, loop)
    if launch.connection_file:
        from dynamo_nb.worker.kernel import Kernel

        kernel = Kernel(launch.connection_file)
        executor.begin(kernel.bind)
        kernel.run()
    else:
        executor.begin()
        loop.run_forever()
    sys.stdout.flush()
    sys.stderr.flush()


class _Executor:
    """Executes the supervisor's commands one after the other, and reports their results."""

    def __init__(self, worker: Worker, lifeline: Lifeline, loop: asyncio.AbstractEventLoop) -> None:
        self._worker, self._lifeline, self._loop = worker, lifeline, loop
        self._commands: asyncio.Queue[Command] = asyncio.Queue()
        self._ending = False
        self._steps: set[asyncio.Task[None]] = set()
        self._reports: set[asyncio.Task[None]] = set()
        self._check: asyncio.Task[None] | None = None

    def begin(self, on_built: Callable[[object], None] = lambda _: None) -> None:
        """Accepts commands. on_built: called with the service when it has been built."""
        self._on_built = on_built
        self._executing = self._loop.create_task(self._execute())
        self._loop.add_signal_handler(signal.SIGTERM, self._commands.put_nowait, Stop())
        separate_signals(signal.SIGTERM)
        self._lifeline.on_command(self._received)
        ERRORS.on_errors = self._report_errors

    def _received(self, command: Command) -> None:
        """Called in the thread that reads: it answers readings itself, also while the loop is blocked."""
        match command:
            case Measure():
                self._report_errors()  # first: who asks for errors waits for the reading
                self._lifeline.report(Measured(self._worker.measured()))
            case ReadSpans(trace=trace):
                self._lifeline.report(Spans(self._worker.spans(trace), trace))
            case ReadHttp(number=number, what="routes"):
                self._loop.call_soon_threadsafe(lambda: self._begin(self._report_routes(number)))
            case ReadHttp(number=number, after=after):
                self._lifeline.report(Http(number, self._worker.http_requests(after)))
            case _:
                self._loop.call_soon_threadsafe(self._on_loop, command)

    def _on_loop(self, command: Command) -> None:
        if not isinstance(command, Ping):
            self._commands.put_nowait(command)
            return
        if not self._ending and (self._executing.done() or self._worker.is_lost):
            print("tasks of the worker itself were cancelled, so that it ends", file=sys.stderr, flush=True)
            self._loop.stop()
            return
        self._lifeline.report(Alive())
        if self._worker.has_liveness and (self._check is None or self._check.done()):
            self._check = self._loop.create_task(self._report_liveness())

    def _report_errors(self) -> None:
        if errors := self._worker.raised():
            self._lifeline.report(Raised(errors))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _report_routes(self, number: int) -> None:
        self._lifeline.report(Http(number, await self._worker.routes()))

    async def _report_liveness(self) -> None:
        self._lifeline.report(Liveness(await self._worker.liveness_fault()))

    async def _execute(self) -> None:
        while not isinstance(command := await self._commands.get(), Stop):
            step = asyncio.create_task(self._step(list(self._steps), command))
            self._steps.add(step)
            step.add_done_callback(self._steps.discard)
        self._ending = True
        if steps := list(self._steps):
            for step in steps:
                step.cancel()
            await asyncio.wait(steps)
        self._lifeline.report(Draining())
        try:
            await self._worker.stop(command.grace)
            self._lifeline.report(Measured(self._worker.measured()))
            self._report_errors()
            self._lifeline.report(Spans(self._worker.spans()))
        finally:
            self._loop.stop()

    async def _step(self, earlier: list[asyncio.Task[None]], command: Command) -> None:
        if earlier:
            await asyncio.wait(earlier)
        try:
            match command:
                case Begin():
                    await self._worker.prepare()
                    self._on_built(self._worker.service)
                    self._lifeline.report(Prepared())
                case Serve():
                    url = await self._worker.serve()
                    runtime = self._worker.runtime
                    self._lifeline.report(Ready(url, str(runtime.instance_id) if runtime else ""))
                case Reconfigure(number=number, config=config, version=version):
                    await self._worker.reconfigure(config, version)
                    self._lifeline.report(Reconfigured(number))
        except BaseException as error:  # including the cancellation of a task of the service's own
            if self._ending:
                raise
            failure = _describe(error)
            if isinstance(command, Reconfigure):
                self._lifeline.report(Reconfigured(command.number, failure))
            else:
                self._lifeline.report(Failed(failure))


def _describe(error: BaseException) -> Failure:
    """Describes an error with the user's lines, and writes the whole traceback to the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    log_size = os.fstat(2).st_size
    print(traceback_of(error, error.__traceback__), file=sys.stderr, end="")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_INTERNAL)]
    frames = [f for f in frames if not f.filename.startswith("<frozen importlib")]
    cause: dict[str, Any] = to_wire(error) if isinstance(error, DynamoError) else {}
    return Failure(summary_of(error).splitlines()[0], traceback_of(error, list(frames)), log_size, cause)
