"""The supervisor: one process for each deployment, which makes what runs be what a GraphSpec says.

It owns the embedded NATS server, the workers, their GPUs, ports and logs. The notebook and the command line talk to it
over its control socket. When its owner dies it stops everything, unless it was detached.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamo_nb.deploy import home
from dynamo_nb.deploy.control import Channel, Message, answer, listen
from dynamo_nb.deploy.gpus import Allocator
from dynamo_nb.deploy.ports import DEFAULT_HOST, DEFAULT_PORT, Ports
from dynamo_nb.deploy.process import Launch
from dynamo_nb.deploy.provisioner import warm_up
from dynamo_nb.deploy.reconcile import Change, Running, changes
from dynamo_nb.deploy.workers import WorkerProcess
from dynamo_nb.errors import DeploymentError, DynamoError, PlacementError, nearest, to_wire
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.runtime.worker import Assignment

DRAIN_GRACE = 30.0
"""Seconds that a worker has to finish the requests it holds."""
ORPHAN_GRACE = 1.5
"""The same when the owner has died and nobody waits for the answers."""
FIRST_BACKOFF, MAX_BACKOFF = 0.1, 30.0
"""Seconds before a worker that ended by itself is started again; doubled each time."""
HEALTHY_AFTER = 60.0
"""Seconds of life after which an earlier end no longer counts."""

_NOT_FOR_WORKERS = {"JPY_PARENT_PID", "JPY_SESSION_NAME", "DYNAMO_SERVICE_CONFIG", "CUDA_VISIBLE_DEVICES"}


@dataclass(frozen=True)
class Options:
    """How a deployment is run.

    nats_url: a server of one's own; None for the embedded one. kernels: workers are kernels.
    owner: pid of the process whose life the deployment shares; None when detached. host: address on which workers
    listen for other machines; None for this one only.
    """

    folder: str
    name: str
    owner: int | None
    nats_url: str | None = None
    host: str | None = None
    http_host: str = DEFAULT_HOST
    http_port: int = DEFAULT_PORT
    kernels: bool = True


class Supervisor:
    """State has one owner: everything here runs on one event loop, changes of the deployment one after the other."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.folder = Path(options.folder)
        self.spec: GraphSpec | None = None
        self._asked = GraphSpec(name=options.name, entry="", services={}, edges=[])
        self._scaled: dict[str, int] = {}
        self.workers: list[WorkerProcess] = []
        self._path: list[str] = []
        self._cwd = "."
        self._ports = Ports(options.http_host, options.http_port)
        self._gpus = Allocator(home.home() / "gpus")
        self._nats_url = options.nats_url or ""
        self._applying = asyncio.Lock()
        self._watchers: set[Channel] = set()
        self._generation = 0
        self._ended = asyncio.Event()
        self._grace = DRAIN_GRACE
        self._restarts: set[asyncio.Task[None]] = set()
        self._started = time.time()

    # --- life ----------------------------------------------------------------------------------------------------

    async def run(self, said: Callable[[Message], None]) -> None:
        """Runs until stopped. `said` gets one message: that it is ready, or the error why not."""
        from dynamo_nb.runtime.nats_server import NatsServer

        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signum, self._ended.set)
        warm_up()
        nats = None if self.options.nats_url else NatsServer()
        server = None
        try:
            try:
                if nats is not None:
                    await nats.start(self.folder / "nats")
                    self._nats_url = nats.url
                else:
                    await _reach(self._nats_url)
            except DynamoError as error:
                said({"error": to_wire(error)})
                return
            server = await listen(self.folder / "control.sock", self._accept)
            self._journal()
            said({"ready": True})
            owner = asyncio.create_task(self._follow_owner())
            await self._ended.wait()
            owner.cancel()
            await self._stop_everything()
        finally:
            if server is not None:
                server.close()
            if nats is not None:
                await nats.stop()
            home.remove(self.folder)

    async def _follow_owner(self) -> None:
        if self.options.owner is None:
            return
        await _process_end(self.options.owner)
        self._grace = ORPHAN_GRACE
        self._ended.set()

    async def _stop_everything(self) -> None:
        for task in list(self._restarts):
            task.cancel()
        # Whatever is being applied may be stuck in a start that never ends.
        for worker in self.workers:
            if worker.state in {"starting", "prepared"}:
                worker.kill()
        async with asyncio.timeout(None), self._applying:
            order = list(self.spec.started) if self.spec is not None else []
            known = {name: [w for w in self.workers if w.service == name] for name in reversed(order)}
            for group in known.values():  # dependants first, so that requests under way can still be answered
                await asyncio.gather(*(worker.stop(self._grace) for worker in group))
            await asyncio.gather(*(worker.stop(0) for worker in self.workers if worker.service not in known))

    def _journal(self) -> None:
        """Writes down every process, for `dynamo clean` after a crash."""
        processes = []
        for pid in [w.pid for w in self.workers if w.pid]:
            with contextlib.suppress(Exception):
                processes.append(home.ProcessId.of(pid))
        owner = None
        if self.options.owner is not None:
            with contextlib.suppress(Exception):
                owner = home.ProcessId.of(self.options.owner)
        home.Record(
            id=self.folder.name,
            name=self.options.name,
            folder=self.folder,
            supervisor=home.ProcessId.of(os.getpid()),
            owner=owner,
            started=self._started,
            processes=tuple(processes),
        ).write()

    # --- the control socket ---------------------------------------------------------------------------------------

    async def _accept(self, channel: Channel) -> None:
        verbs: dict[str, Callable[..., Awaitable[Any]]] = {
            "status": self.status,
            "apply": self.apply,
            "scale": self.scale,
            "stop": self.stop,
            "restart": self.restart,
        }
        tasks: dict[int, asyncio.Task[None]] = {}
        try:
            async for message in channel:
                if "worker" in message:
                    for worker in self.workers:
                        if worker.id == message["worker"]:
                            await worker.follow(channel)
                elif message.get("verb") == "watch":
                    self._watchers.add(channel)
                    channel.send({"id": message["id"], "result": await self.status()})
                elif message.get("verb") == "cancel":
                    if (running := tasks.get(message["args"]["request"])) is not None:
                        running.cancel()
                else:
                    verb = verbs.get(message.get("verb", ""), _unknown_verb)
                    task = asyncio.create_task(answer(channel, message, verb))
                    tasks[message["id"]] = task
                    task.add_done_callback(lambda _, number=message["id"]: tasks.pop(number, None))
        finally:
            self._watchers.discard(channel)
            # A client that goes away in the middle of an apply takes its wish back.
            for task in tasks.values():
                task.cancel()

    def _publish(self) -> None:
        if self._watchers:
            event = {"event": self._status()}
            for channel in self._watchers:
                channel.send(event)

    async def status(self) -> Message:
        return self._status()

    def _status(self) -> Message:
        services = {}
        for name, service in (self.spec.services if self.spec else {}).items():
            workers = [w for w in self.workers if w.service == name]
            services[name] = {
                "state": _state_of(workers) if service.running and service.enabled else "",
                "wanted": service.workers,
                "digest": service.digest,
                "workers": [w.describe() for w in sorted(workers, key=lambda w: (w.index, w.started))],
            }
        return {
            "id": self.folder.name,
            "name": self.options.name,
            "folder": str(self.folder),
            "pid": os.getpid(),
            "owner": self.options.owner,
            "started": self._started,
            "nats_url": self._nats_url,
            "socket_dir": str(self.folder / "sockets"),
            "entry": self.spec.entry if self.spec else "",
            "services": services,
        }

    async def stop(self) -> None:
        """Ends the deployment; the answer comes before the end, the closed connection is the end."""
        self._ended.set()

    async def restart(self, service: str) -> Message:
        """Replaces the workers of one service by new ones of the same version."""
        async with self._applying:
            spec = self._current()
            if service not in spec.started:
                raise DeploymentError(f"{service} is not running here", remedy=nearest(service, spec.started))
            old = tuple(w.index for w in self._live(service))
            await self._reach(spec, [Change(service, start=old, stop=old)])
        return self._status()

    async def scale(self, workers: dict[str, int]) -> Message:
        """Changes how many workers services have."""
        spec = self._current()
        for name, count in workers.items():
            if name not in spec.started:
                raise DeploymentError(f"{name} is not running here", remedy=nearest(name, spec.started))
            if count < 0:
                raise DeploymentError(f"{name} cannot have {count} workers", remedy="give 0 or more")
        before, self._scaled = self._scaled, {**self._scaled, **workers}
        try:
            return await self.apply(self._asked.model_dump(), self._path, self._cwd)
        except BaseException:
            self._scaled = before
            raise

    def _current(self) -> GraphSpec:
        if self.spec is None:
            raise DeploymentError("nothing is being served yet", remedy="serve a graph first")
        return self.spec

    # --- reconciling ----------------------------------------------------------------------------------------------

    async def apply(self, spec: Message, path: list[str], cwd: str) -> Message:
        """Makes the deployment be `spec`, or leaves it as it was and raises why.

        path: goes before `sys.path` in workers: where their modules are. cwd: their working directory.
        """
        asked = GraphSpec.model_validate(spec)
        async with self._applying:
            # A service stays as it was scaled until its own number of workers is changed.
            kept = {
                name: count
                for name, count in self._scaled.items()
                if name in asked.started and asked.services[name].workers == self._asked.services[name].workers
            }
            wanted = asked.with_workers(kept)
            running = {}
            for name in {w.service for w in self.workers}:
                live = self._live(name)
                if live:
                    running[name] = Running(live[-1].fingerprint, tuple(w.index for w in live))
            before = self._path, self._cwd
            self._path, self._cwd = path, cwd
            try:
                await self._reach(wanted, changes(running, wanted))
            except BaseException:
                self._path, self._cwd = before
                raise
            self.spec, self._asked, self._scaled = wanted, asked, kept
            for name in running:
                if name not in wanted.started:
                    self._ports.release(name)
        self._publish()
        return self._status()

    def _live(self, service: str) -> list[WorkerProcess]:
        return [w for w in self.workers if w.service == service and w.state in {"starting", "prepared", "ready"}]

    async def _reach(self, spec: GraphSpec, todo: list[Change]) -> None:
        """Starts what is new, moves traffic to it, and stops what is old. On an error only what was there before is."""
        old = {change.service: [w for w in self._live(change.service) if w.index in change.stop] for change in todo}
        new: dict[str, list[WorkerProcess]] = {}
        try:
            for change in todo:
                if spec.services.get(change.service) is not None and spec.services[change.service].http:
                    self._ports.of(change.service)
            for change in todo:
                new[change.service] = [await self._place(spec, change, index, old) for index in change.start]
            await self._begin(spec, new, {change.service for change in todo if change.replaces})
        except BaseException:
            await asyncio.shield(self._take_back(new, spec))
            raise
        for change in reversed(todo):
            await asyncio.gather(*(worker.stop(self._grace) for worker in old[change.service]))

    async def _begin(self, spec: GraphSpec, new: dict[str, list[WorkerProcess]], replaced: set[str]) -> None:
        """Builds the services, dependencies first. Those that replace others serve only when all are built."""
        built = {name: asyncio.Event() for name in new}
        order = list(new)

        async def begin(name: str, worker: WorkerProcess) -> None:
            earlier = order[: order.index(name)]
            for dependency in spec.services[name].bindings.values():
                if dependency in earlier:
                    await built[dependency].wait()
            await worker.begin()
            if name not in replaced:
                await worker.serve()

        async def service(name: str) -> None:
            await _all(begin(name, worker) for worker in new[name])
            built[name].set()

        await _all(service(name) for name in new)
        await _all(worker.serve() for name in replaced for worker in new[name])

    async def _take_back(self, new: dict[str, list[WorkerProcess]], spec: GraphSpec) -> None:
        fresh = [worker for group in new.values() for worker in group]
        await asyncio.gather(*(worker.stop(ORPHAN_GRACE) for worker in fresh))
        for name in spec.services:
            if self.spec is None or name not in self.spec.started:
                self._ports.release(name)

    async def _place(
        self, spec: GraphSpec, change: Change, index: int, old: dict[str, list[WorkerProcess]]
    ) -> WorkerProcess:
        """Starts a new worker; when no GPU is spare, after stopping the one whose place it takes."""
        try:
            return await self._launch(spec, change.service, index)
        except PlacementError:
            mine = next((w for w in old[change.service] if w.index == index), None)
            if mine is None or not mine.gpus:
                raise
            await mine.stop(self._grace)
            return await self._launch(spec, change.service, index, prefer=mine.gpus)

    async def _launch(
        self, spec: GraphSpec, name: str, index: int, *, prefer: Iterable[str] = (), restarts: int = 0
    ) -> WorkerProcess:
        service = spec.services[name]
        self._generation += 1
        worker_id = f"{name}.{index}.{self._generation}"
        gpus = self._gpus.take(worker_id, service.gpu, prefer)
        environ = {k: v for k, v in os.environ.items() if k not in _NOT_FOR_WORKERS}
        environ["DYNAMO_SERVICE_CONFIG"] = json.dumps(spec.config)
        # Hidden rather than left open: a service that asks for no GPU must not find one that is somebody else's.
        environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        environ.update(service.envs)
        short = f"{self._generation:x}"
        launch = Launch(
            assignment=Assignment(
                service=name,
                worker_id=worker_id,
                targets={n: s.target for n, s in spec.services.items() if s.target},
                bindings={n: s.bindings for n, s in spec.services.items()},
                enabled={n: s.enabled for n, s in spec.services.items()},
                nats_url=self._nats_url,
                graph=self.folder.name,
                version=spec.fingerprint(name)[:12],
                socket_dir=str(self.folder / "sockets"),
                host=self.options.host,
                http=self._ports.of(name) if service.http else None,
            ),
            control=str(self.folder / "control.sock"),
            log=str(self.folder / "logs" / f"{name}.{index}.log"),
            environ=environ,
            path=self._path,
            cwd=self._cwd,
            connection_file=str(self.folder / "kernels" / f"{short}.json") if self.options.kernels else "",
        )
        worker = WorkerProcess(
            service=name,
            index=index,
            launch=launch,
            fingerprint=spec.fingerprint(name),
            gpus=gpus,
            on_change=self._changed,
            restarts=restarts,
        )
        self.workers.append(worker)
        try:
            await worker.start(self.options.kernels)
        except BaseException:
            self.workers.remove(worker)
            self._gpus.free(worker_id)
            raise
        self._journal()
        return worker

    def _changed(self, worker: WorkerProcess) -> None:
        if worker.gone.is_set() and worker in self.workers:
            self.workers.remove(worker)
            self._gpus.free(worker.id)
            if worker.instance_id and worker.state == "failed" and not self._ended.is_set():
                task = asyncio.create_task(self._restart(worker))
                self._restarts.add(task)
                task.add_done_callback(self._restarts.discard)
        self._publish()

    async def _restart(self, lost: WorkerProcess) -> None:
        """Puts a new worker in the place of one that ended by itself, on the same GPU, after a while."""
        restarts = lost.restarts + 1 if time.time() - lost.started < HEALTHY_AFTER else 1
        print(f"{lost.error}\nrestarting worker {lost.index} of {lost.service}, time {restarts}", flush=True)
        await asyncio.sleep(min(FIRST_BACKOFF * 2 ** (restarts - 1), MAX_BACKOFF))
        async with self._applying:
            spec = self.spec
            if spec is None or lost.service not in spec.started or lost.index >= spec.services[lost.service].workers:
                return
            if any(w.index == lost.index for w in self._live(lost.service)):
                return
            try:
                worker = await self._launch(spec, lost.service, lost.index, prefer=lost.gpus, restarts=restarts)
            except DynamoError as error:
                print(error, flush=True)
                return
        try:
            await worker.begin()
            await worker.serve()
        except DynamoError:
            await worker.stop(0)
            worker.instance_id = worker.instance_id or lost.instance_id
            task = asyncio.create_task(self._restart(worker))
            self._restarts.add(task)
            task.add_done_callback(self._restarts.discard)


async def _all(steps: Iterable[Awaitable[None]]) -> None:
    """Runs steps side by side; the first error ends the others and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)  # type: ignore[arg-type]
    except* DynamoError as errors:
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


def _state_of(workers: list[WorkerProcess]) -> str:
    """One word for a service: the worst that matters of its workers' states."""
    states = {w.state for w in workers}
    for state in ("failed", "starting", "prepared", "ready", "draining"):
        if state in states:
            return "starting" if state == "prepared" else state
    return "stopped"


async def _unknown_verb(**_: Any) -> None:
    raise DeploymentError("the supervisor does not know this request", remedy="use the same version of dynamo_nb")


async def _reach(url: str) -> None:
    """Raises ConnectError within 5 seconds if nobody answers at a NATS URL."""
    from dynamo_nb.runtime.distributed import DistributedRuntime

    runtime = await DistributedRuntime.connect(url)
    await runtime.close()


async def _process_end(pid: int) -> None:
    """Returns when the process ends."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # no pidfd on this system
        while os.getppid() == pid:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.5)
        return
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def main() -> None:
    """Entry of the supervisor's process: a line of JSON (Options) comes in, a line goes out, then it is on its own."""
    options = Options(**json.loads(sys.stdin.readline()))
    folder = Path(options.folder)
    tempfile.tempdir = str(folder)  # sockets of the process that workers are forked from
    answer_to = os.dup(1)
    log = os.open(folder / "logs" / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def said(message: Message) -> None:
        os.write(answer_to, json.dumps(message).encode() + b"\n")
        os.close(answer_to)

    asyncio.run(Supervisor(options).run(said))
