"""One worker as its supervisor sees it: a process group, a connection, a state."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from dynamo_nb.control.channel import Channel, Message
from dynamo_nb.control.status import WorkerState, WorkerStatus
from dynamo_nb.errors import ConfigError, DeploymentError, DynamoError, StartError, from_wire
from dynamo_nb.source.tracebacks import with_cell_names
from dynamo_nb.supervisor.forkserver import exited, fork, kill_group
from dynamo_nb.supervisor.health_check import HANG_LIMIT, STACK_SIGNAL, STACK_TIME, Pulse
from dynamo_nb.worker.worker_main import Launch

LOG_TAIL_LINES, LOG_TAIL_BYTES = 20, 64 * 1024
"""Shown of a log when its worker fails; the second bounds what is read of a long one."""


RECONFIGURE_LIMIT = 60.0
"""Seconds that a `reconfigure` hook may take; everything else that is asked of the deployment waits for it."""


def version_of(fingerprint: str) -> str:
    """What instances carry of it."""
    return fingerprint[:12]


@dataclass(eq=False)
class WorkerProcess:
    """Starts one worker and follows it until its process group is gone.

    on_change: called after each change of state. on_end: ends what the process left behind outside of its group.
    gpus: ids it was given. grace, hang: seconds that it has to finish what it holds, and may be silent. restarts: how
    often its slot was restarted. crashes: how often in a row soon after it served, or before. crash: why the last time,
    if that was often enough to tell of it. measured: what it last said of its requests. spans: of traced ones, as told
    at its end.
    """

    service: str
    index: int
    launch: Launch
    fingerprint: str
    gpus: list[str]
    on_change: Callable[[WorkerProcess], None]
    on_end: Callable[[], Awaitable[None]]
    grace: float = 0.0
    hang: float = HANG_LIMIT
    restarts: int = 0
    crashes: int = 0
    crash: DynamoError | None = None
    state: WorkerState = "starting"
    url: str = ""
    instance_id: str = ""
    error: DynamoError | None = None
    started: float = field(default_factory=time.time)
    process: ForkServerProcess | None = None
    measured: Message = field(default_factory=lambda: {"served": {}, "called": {}})
    spans: list[Message] = field(default_factory=list)
    _measured: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: dict[str, asyncio.Future[list[Message]]] = field(default_factory=dict)
    _channel: Channel | None = None
    _commands: list[Message] = field(default_factory=list)
    _answers: list[asyncio.Future[Message]] = field(default_factory=list)
    _prepared: asyncio.Event = field(default_factory=asyncio.Event)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _broken: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _watching: asyncio.Task[None] | None = None
    _caring: asyncio.Task[None] | None = None
    _pulse: Pulse | None = None
    _served_since: float | None = None
    _served_until: float | None = None
    _stopping: bool = False

    @property
    def id(self) -> str:
        return self.launch.assignment.worker_id

    @property
    def reconfiguring(self) -> bool:
        return any(not answer.done() for answer in self._answers)

    @property
    def pid(self) -> int:
        return (self.process.pid or 0) if self.process is not None else 0

    @property
    def served(self) -> float:
        """Seconds for which it has taken requests and was well."""
        if self._served_since is None:
            return 0.0
        return (self._served_until or time.monotonic()) - self._served_since

    async def start(self, kernel: bool) -> None:
        """Starts the process, through jupyter_client if it is to be a kernel."""
        if kernel:
            from dynamo_nb.supervisor.provisioner import start_kernel

            await start_kernel(self.launch, self._forked)
        else:
            self._forked(fork(self.launch))

    def _forked(self, process: ForkServerProcess) -> None:
        self.process = process
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        assert self.process is not None
        code = await exited(self.process)
        kill_group(self.pid)  # what the worker itself started and left behind
        try:
            await self.on_end()
        finally:
            self._end(code)

    def _end(self, code: int) -> None:
        if self.state != "failed" and not self._stopping:
            self._fail(
                StartError(
                    f"worker {self.index} of {self.service} ended by itself, "
                    + (f"killed by signal {-code}" if code < 0 else f"with exit code {code}"),
                    where=self.launch.log,
                    log=self.log_tail(),
                )
            )
        elif self.state != "failed":
            self._change("stopped")
        self._broken.set()
        self.gone.set()
        self.on_change(self)

    async def follow(self, channel: Channel) -> None:
        """Reads the worker's reports until its connection closes."""
        self._channel = channel
        for command in self._commands:
            channel.send(command)
        async for message in channel:
            self._hear(message)

    def _hear(self, message: Message) -> None:
        if "measured" in message:
            self.measured = message["measured"]
            self._measured.set()
            return
        if "spans" in message:
            if message["trace"] is None:
                self.spans = message["spans"]
            elif (asked := self._asked.pop(message["trace"], None)) is not None:
                asked.set_result(message["spans"])
            return
        if self._pulse is not None and "pulse" in message:
            self._pulse.answered()
        elif self._pulse is not None and "complaint" in message:
            self._pulse.complained(message["complaint"])
        state = message.get("state")
        if self.state == "failed":
            return  # it was found to be ill, and says that it drains
        if state == "failed":
            cause = from_wire(message["cause"]) if message.get("cause") else None
            if isinstance(cause, ConfigError):
                self._fail(cause)
                return
            self._fail(
                StartError(
                    f"{self.service} did not start: {message['error']}",
                    where=f"worker {self.index} of {self.service}",  # of a first start, the log goes with all the rest
                    remedy=cause.remedy if cause is not None else "correct the service and run it again",
                    traceback=message["traceback"],
                    log=self.log_tail(message["printed"]),
                )
            )
        elif state == "prepared":
            self._change("prepared")
            self._prepared.set()
        elif state == "ready":
            self.url, self.instance_id = message["url"], message["instance_id"]
            self._served_since = time.monotonic()
            self._change("ready")
            self._ready.set()
            self._caring = asyncio.create_task(self._care())
        elif state == "draining":
            self._change("draining")
        elif "reconfigured" in message and not (answer := self._answers[message["number"]]).done():
            answer.set_result(message)

    async def _care(self) -> None:
        """Ends the worker when it is ill; whoever follows its end starts another."""
        self._pulse = Pulse(self.hang, lambda: self._send({"do": "ping"}))
        illness = await self._pulse.fails()
        self._caring, self._served_until = None, self._pulse.well
        if illness.hangs:
            with suppress(ProcessLookupError):
                os.kill(self.pid, STACK_SIGNAL)
            await asyncio.sleep(STACK_TIME)
        if self.state != "ready":
            return  # it was told to stop meanwhile, or ended
        self._fail(
            StartError(
                f"worker {self.index} of {self.service} {illness.what}",
                where=self.launch.log,
                remedy="run what blocks in a thread (asyncio.to_thread), or allow more time with `hang`"
                if illness.hangs
                else "see its log",
                log=self.log_tail(),
            )
        )
        await self._end_within(0 if illness.hangs else self.grace)

    def _change(self, state: WorkerState) -> None:
        if self._caring is not None and state != "ready":
            self._caring.cancel()
        self.state = state
        self.on_change(self)

    def _fail(self, error: DynamoError) -> None:
        self.error = error
        self._change("failed")
        self._broken.set()

    def _tell(self, do: str, **given: Any) -> None:
        message = {"do": do, **given}
        self._commands.append(message)
        self._send(message)

    def _send(self, message: Message) -> None:
        if self._channel is not None:
            self._channel.send(message)

    async def measure(self) -> None:
        """Asks the worker what it has counted of its requests; returns when `measured` says so."""
        if self._channel is not None:
            self._measured.clear()
            self._channel.send({"do": "measure"})
            await self._measured.wait()

    async def spans_of(self, trace: str) -> list[Message]:
        """Asks the worker which spans it keeps of a trace."""
        if self._channel is None:
            return []
        if trace not in self._asked:
            self._asked[trace] = asyncio.get_running_loop().create_future()
            self._channel.send({"do": "spans", "trace": trace})
        try:
            return await asyncio.shield(self._asked[trace])
        finally:
            self._asked.pop(trace, None)

    async def begin(self) -> None:
        """Lets the worker build its service; returns when the start hooks have run. Raises what they raised."""
        self._tell("begin")
        await self._until(self._prepared)

    async def serve(self) -> None:
        """Lets the worker register and take requests; returns when it does."""
        self._tell("serve")
        await self._until(self._ready)

    async def reconfigure(self, config: str, fingerprint: str) -> None:
        """Gives the running service other configuration.

        Raises DeploymentError when its hook refuses it, or has not returned within RECONFIGURE_LIMIT; then nobody knows
        what it serves, and the worker is ended as one that has failed.
        """
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        number = len(self._answers) - 1
        self._tell("reconfigure", number=number, config=config, version=version_of(fingerprint))
        broken = asyncio.ensure_future(self._broken.wait())
        waits: list[asyncio.Future[Any]] = [answer, broken]
        try:
            await asyncio.wait(waits, timeout=RECONFIGURE_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            broken.cancel()
        if not answer.done():
            if not self._broken.is_set():
                self.fail(
                    DeploymentError(
                        f"the `reconfigure` hook of {self.service} has not returned within {RECONFIGURE_LIMIT:g} s",
                        where=f"worker {self.index} of {self.service}, log {self.launch.log}",
                        remedy="let it return, and do what takes long in a task of its own",
                    )
                )
            raise self.error or DeploymentError(f"worker {self.index} of {self.service} ended meanwhile")
        message = answer.result()
        if not message["reconfigured"]:
            raise DeploymentError(
                f"{self.service} did not take its configuration: {message['error']}\n{message['traceback'].rstrip()}",
                where=f"worker {self.index} of {self.service}, log {self.launch.log}",
                remedy="correct the value, or what the service's `reconfigure` hook makes of it",
            )
        self.fingerprint = fingerprint

    async def _until(self, event: asyncio.Event) -> None:
        waits = [asyncio.create_task(event.wait()), asyncio.create_task(self._broken.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not event.is_set():
            raise self.error or StartError(f"worker {self.index} of {self.service} was stopped while it started")

    async def stop(self, grace: float) -> None:
        """Lets the worker finish what it holds, at most `grace` seconds; then its whole group is killed."""
        if self.process is None:
            return
        self._stopping = True
        if self.state not in {"failed", "stopped"}:
            self._change("draining")
        await self._end_within(grace)

    async def _end_within(self, grace: float) -> None:
        self._tell("stop", grace=grace)
        try:
            async with asyncio.timeout(grace):
                await self.gone.wait()
        except TimeoutError:
            self.kill()
            await self.gone.wait()

    def fail(self, error: DynamoError) -> None:
        """Ends the worker as one that has failed."""
        self._fail(error)
        self.kill()

    def kill(self) -> None:
        if self.process is not None:  # group 0 would be the supervisor's own
            kill_group(self.pid)

    def log_tail(self, end: int | None = None) -> str:
        """The last lines of its log; of its first `end` bytes, if given."""
        try:
            with Path(self.launch.log).open("rb") as log:
                end = log.seek(0, os.SEEK_END) if end is None else end
                first = log.seek(max(end - LOG_TAIL_BYTES, 0))
                lines = log.read(end - first).decode(errors="replace").splitlines()
        except OSError:
            return ""
        return with_cell_names("\n".join(lines[-LOG_TAIL_LINES:]))

    def status(self) -> WorkerStatus:
        return WorkerStatus(
            id=self.id,
            index=self.index,
            state=self.state,
            pid=self.pid,
            gpus=tuple(self.gpus),
            started=self.started,
            restarts=self.restarts,
            crashes=self.crashes,
            url=self.url,
            instance_id=self.instance_id,
            log=self.launch.log,
            connection_file=self.launch.connection_file,
            error=str(self.error or self.crash or ""),
        )
