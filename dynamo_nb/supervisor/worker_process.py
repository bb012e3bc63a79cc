"""One worker, as its supervisor sees it: a process group, a lifeline and a state."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final, Literal

from dynamo_nb.control.channel import Channel
from dynamo_nb.control.events import EventKind
from dynamo_nb.control.logs import log_tail
from dynamo_nb.control.options import HANG_LIMIT
from dynamo_nb.control.processes import kill_group
from dynamo_nb.control.status import WorkerState, WorkerStatus
from dynamo_nb.control.worker_messages import (
    STACK_SIGNAL,
    Alive,
    Begin,
    Draining,
    Failed,
    Failure,
    Liveness,
    Ping,
    Prepared,
    Ready,
    Report,
    Serve,
    Stop,
)
from dynamo_nb.errors import ConfigError, DeploymentError, DynamoError, StartError, from_wire
from dynamo_nb.supervisor.desired import Slot
from dynamo_nb.supervisor.event_log import EventLog
from dynamo_nb.supervisor.forkserver import exited, fork
from dynamo_nb.supervisor.health_check import HealthCheck
from dynamo_nb.supervisor.lifeline import Lifeline
from dynamo_nb.supervisor.oom_kills import OomKills, exit_text
from dynamo_nb.supervisor.tasks import persist
from dynamo_nb.worker.launch import Launch, version_of

STACK_TIME: Final = 0.5
"""Seconds for a worker that hangs to write its stacks to its log."""
RECONFIGURE_LIMIT: Final = 60.0
"""Seconds for a `reconfigure` hook. Every later change of the deployment waits for it."""


Role = Literal["candidate", "current", "retired"]
"""A `candidate` belongs to a rollout that has not succeeded yet. A `retired` worker was replaced or is not needed."""


@dataclass(eq=False)
class WorkerProcess:
    """Starts one worker and follows it until its process group is gone.

    Attributes:
        slot: its place.
        launch: parameters of its process.
        fingerprint: fingerprint of its code and configuration, see `GraphSpec.fingerprint`.
        on_change: called after each change of state.
        on_end: kills what the process left behind, outside its group.
        grace: seconds for it to finish its requests.
        hang: seconds that it may be silent; 0 for no limit.
        role: what it is to the deployment. At most one worker of each role is live in a slot.
        restarts: number of restarts in its slot, after a worker there had ended by itself.
        crashes: consecutive exits shortly after start, in its slot.
        crash: the error of the last one; None unless the slot is in a crash loop.
        state: see `WorkerState`.
        url: URL of its HTTP endpoints, or "".
        instance_id: id of its registration; "" until it is ready.
        error: reason why it failed.
        terminated: True once it drains by itself, after a SIGTERM that the supervisor did not send.
        replaced: True once another worker has its place, although it has not ended or its slot becomes vacant again.
        started: seconds since the epoch.
        process: None until it was started.
        events: receives failures of the worker.
        oom_kills: detects out-of-memory kills.
        gone: set when its process group has ended.
    """

    slot: Slot
    launch: Launch
    fingerprint: str
    on_change: Callable[[WorkerProcess], None]
    on_end: Callable[[], Awaitable[None]]
    grace: float = 0.0
    hang: float = HANG_LIMIT
    role: Role = "current"
    restarts: int = 0
    crashes: int = 0
    crash: DynamoError | None = None
    state: WorkerState = "starting"
    url: str = ""
    instance_id: str = ""
    error: DynamoError | None = None
    terminated: bool = False
    replaced: bool = False
    started: float = field(default_factory=time.time)
    process: ForkServerProcess | None = None
    events: EventLog = field(default_factory=EventLog)
    oom_kills: OomKills = field(default_factory=OomKills)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _prepared: asyncio.Event = field(default_factory=asyncio.Event)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _broken: asyncio.Event = field(default_factory=asyncio.Event)
    _watching: asyncio.Task[None] | None = None
    _checking: asyncio.Task[None] | None = None
    _draining: asyncio.Task[None] | None = None
    _health: HealthCheck | None = None
    _served_since: float | None = None
    _served_until: float | None = None
    _stopping: bool = False

    def __post_init__(self) -> None:
        self.lifeline = Lifeline(self._reported)

    @property
    def id(self) -> str:
        return self.launch.assignment.worker_id

    @property
    def service(self) -> str:
        return self.slot.service

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"{self.slot.service}[{self.slot.index}]"

    @property
    def gpus(self) -> list[str]:
        """Ids of its GPUs."""
        gpus: list[str] = self.launch.assignment.capacity["gpus"]
        return gpus

    @property
    def pid(self) -> int:
        """Of its process; 0 before it was started."""
        return (self.process.pid or 0) if self.process is not None else 0

    @property
    def live(self) -> bool:
        """True until it drains, has failed or has ended."""
        return self.state in {"starting", "prepared", "ready"}

    @property
    def left(self) -> bool:
        """True if it takes no more requests, although the supervisor did not stop it. It may not have ended yet."""
        return self.state == "failed" or self.terminated

    @property
    def served(self) -> float:
        """Seconds for which it took requests and was healthy."""
        if self._served_since is None:
            return 0.0
        return (self._served_until or time.monotonic()) - self._served_since

    async def start(self) -> None:
        """Starts the process, through jupyter_client if it is a kernel."""
        if self.launch.connection_file:
            from dynamo_nb.supervisor.provisioner import start_kernel

            await start_kernel(self.launch, self._forked)
        else:
            self._forked(fork(self.launch))

    async def follow(self, channel: Channel) -> None:
        """Reads the worker's reports until its connection closes."""
        await self.lifeline.follow(channel)

    async def begin(self) -> None:
        """Lets the worker build its service; returns when the start hooks have run. Raises what they raised."""
        self.lifeline.send(Begin())
        await self._until(self._prepared)

    async def serve(self) -> None:
        """Lets the worker register and take requests; returns when it does."""
        self.lifeline.send(Serve())
        await self._until(self._ready)

    async def reconfigure(self, config: str, fingerprint: str) -> None:
        """Changes the configuration of the running service.

        Args:
            config: the text of DYNAMO_SERVICE_CONFIG.
            fingerprint: fingerprint of the code with this configuration.

        Raises:
            DeploymentError: the hook raised an error, and the service keeps its configuration; or it did not return
                within RECONFIGURE_LIMIT. The configuration is unknown then, and the worker is ended as failed.
        """
        answer = self.lifeline.reconfigure(config, version_of(fingerprint))
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
                        f"the `reconfigure` hook of {self.service} did not return within {RECONFIGURE_LIMIT:g} s",
                        where=f"{self.title}, log {self.launch.log}",
                        remedy="let it return, and run what takes long in a task",
                    )
                )
            raise self.error or DeploymentError(f"{self.title} ended before it was reconfigured")
        failure = answer.result().failure
        if failure is not None:
            raise DeploymentError(
                f"{self.service} rejected its configuration: {failure.error}\n{failure.traceback.rstrip()}",
                where=f"{self.title}, log {self.launch.log}",
                remedy="correct the value, or the service's `reconfigure` hook",
            )
        self.fingerprint = fingerprint

    async def stop(self, grace: float) -> None:
        """Lets the worker finish its requests, and kills its group after `grace` seconds. Returns when it has ended."""
        if self.process is None:
            return
        self._stopping = True
        if self.state not in {"failed", "stopped"}:
            self._change("draining")
        await self._end_within(grace)

    def fail(self, error: DynamoError) -> None:
        """Kills the worker as one that has failed."""
        self._fail(error)
        self.kill()

    def kill(self) -> None:
        if self.process is not None:  # group 0 would be the supervisor's own
            kill_group(self.pid)

    def status(self) -> WorkerStatus:
        return WorkerStatus(
            id=self.id,
            index=self.slot.index,
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

    # --- the process ----------------------------------------------------------------------------------------------

    def _forked(self, process: ForkServerProcess) -> None:
        self.process = process
        self.oom_kills.forget()
        self._watching = asyncio.create_task(self._watch(process))

    async def _watch(self, process: ForkServerProcess) -> None:
        code = await persist(f"waiting for {self.title}", lambda: exited(process))
        kill_group(self.pid)  # the processes that the worker started
        try:
            await self.on_end()
        finally:
            self._ended(code)

    def _ended(self, code: int) -> None:
        if self.state != "failed" and not self._stopping:
            if code == 0 and self.terminated:
                self._change("stopped")
            else:
                what = f"{self.title} ended by itself, {exit_text(code, self.oom_kills)}"
                self._fail(StartError(what, where=self.launch.log, log=self._log_tail()))
        elif self.state != "failed":
            self._change("stopped")
        self._broken.set()
        self.gone.set()
        self.on_change(self)

    async def _end_within(self, grace: float) -> None:
        self.lifeline.send(Stop(grace))
        try:
            async with asyncio.timeout(grace):
                await self.gone.wait()
        except TimeoutError:
            self.kill()
            await self.gone.wait()

    async def _bound_drain(self) -> None:
        """Ends a worker that drains by itself, when its grace is over."""
        try:
            async with asyncio.timeout(self.grace):
                await self.gone.wait()
        except TimeoutError:
            if not self._stopping:  # else it has the time that `stop` gives it
                what = f"{self.title} received SIGTERM and did not finish its requests within {self.grace:g} s"
                error = StartError(what, where=self.launch.log, log=self._log_tail())
                print(error, flush=True)
                self.fail(error)

    async def _until(self, event: asyncio.Event) -> None:
        waits = [asyncio.create_task(event.wait()), asyncio.create_task(self._broken.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not event.is_set():
            raise self.error or StartError(f"{self.title} was stopped while it started")

    # --- the state ------------------------------------------------------------------------------------------------

    def _change(self, state: WorkerState) -> None:
        if self._checking is not None and state != "ready":
            self._checking.cancel()
        self.state = state
        self.on_change(self)

    def _fail(self, error: DynamoError, kind: EventKind = "worker ended") -> None:
        self.error = error
        if self.crash is None:  # a crash loop is one event
            detail = "\n".join(str(error).splitlines()[1:])
            self.events.add(kind, error.what, service=self.service, worker=self.title, detail=detail)
        self._change("failed")
        self._broken.set()

    def _reported(self, report: Report) -> None:
        if isinstance(report, Alive | Liveness):
            if self._health is not None:
                self._health.note(report)
            return
        if self.state == "failed":
            return  # such as an unhealthy worker, which reports that it drains
        match report:
            case Failed(failure=failure):
                self._fail(self._start_error(failure))
            case Prepared():
                self._change("prepared")
                self._prepared.set()
            case Ready(url=url, instance_id=instance_id):
                self.url, self.instance_id = url, instance_id
                self._served_since = time.monotonic()
                self._change("ready")
                self._ready.set()
                self._checking = asyncio.create_task(self._check_health())
            case Draining():
                if not self._stopping and self._draining is None:  # the worker received SIGTERM from outside
                    self.terminated = True
                    text = f"{self.title} received SIGTERM and finishes its requests"
                    self.events.add("worker ended", text, service=self.service, worker=self.title)
                    self._draining = asyncio.create_task(self._bound_drain())
                self._change("draining")

    def _start_error(self, failure: Failure) -> DynamoError:
        cause = from_wire(failure.cause) if failure.cause else None
        if isinstance(cause, ConfigError):
            return cause
        return StartError(
            f"{self.service} did not start: {failure.error}",
            where=self.title,  # not its log: after a first start that fails, the log is removed with the deployment
            remedy=cause.remedy if cause is not None else "correct the service and run it again",
            traceback=failure.traceback,
            log=self._log_tail(failure.log_size),
        )

    async def _check_health(self) -> None:
        """Ends the worker when it is unhealthy; another one is started when it has ended."""
        self._health = HealthCheck(self.hang, lambda: self.lifeline.send(Ping()))
        unhealthy = await self._health.wait_unhealthy()
        self._checking, self._served_until = None, self._health.healthy_at
        if unhealthy.hangs:
            with suppress(ProcessLookupError):
                os.kill(self.pid, STACK_SIGNAL)
            await asyncio.sleep(STACK_TIME)
        if self.state != "ready":
            return  # it was stopped meanwhile, or ended
        remedy = "run what blocks in a thread (asyncio.to_thread), or allow more time with `hang`"
        self._fail(
            StartError(
                f"{self.title} {unhealthy.reason}",
                where=self.launch.log,
                remedy=remedy if unhealthy.hangs else "see its log",
                log=self._log_tail(),
            ),
            "worker unhealthy",
        )
        await self._end_within(0 if unhealthy.hangs else self.grace)

    def _log_tail(self, end: int | None = None) -> str:
        return log_tail(Path(self.launch.log), end)
