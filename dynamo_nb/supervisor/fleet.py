"""The workers of a deployment, and how they become what a GraphSpec asks for.

New workers are built beside the old ones and take over together once all of them are ready; until then a failure
leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dynamo_nb.control import state_dir
from dynamo_nb.control.options import DRAIN_GRACE
from dynamo_nb.control.release import Release
from dynamo_nb.control.status import RolloutStatus, ServiceStatus
from dynamo_nb.control.subreaper import bury_orphans
from dynamo_nb.errors import DeploymentError, DynamoError, PlacementError, suggestion
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.runtime.connection_settings import Access
from dynamo_nb.sdk.service_config import VARIABLE
from dynamo_nb.supervisor.gpus import Allocator
from dynamo_nb.supervisor.health_check import HANG_LIMIT
from dynamo_nb.supervisor.ports import Ports
from dynamo_nb.supervisor.reconcile import Change, Running, changes
from dynamo_nb.supervisor.worker_process import WorkerProcess, version_of
from dynamo_nb.worker.worker import Assignment
from dynamo_nb.worker.worker_main import Launch

STOPPED = "the deployment is being stopped"
ORPHAN_GRACE = 1.5
"""The same when nobody waits for the answers: the owner has died, or the worker is taken back before it served."""
FIRST_BACKOFF, MAX_BACKOFF = 0.1, 30.0
"""Seconds before a worker that ended by itself is started again; doubled each time in a row."""
HEALTHY_AFTER = 3.0
"""Seconds of taking requests after which a worker's end is a new accident: it has nothing to do with its start."""
CRASH_LOOP = 2
"""Ends in a row from which on they are no longer told one by one."""
MOST_WORKERS = 1000
"""Workers of one service: processes, of which a machine has room for far fewer. More is a slip of the keyboard, and the
supervisor would do nothing else but prepare them."""

_NOT_FOR_WORKERS = {"JPY_PARENT_PID", "JPY_SESSION_NAME"}


@dataclass
class Fleet:
    """The only owner of the workers, their GPUs and ports. Changes are made one after the other.

    access, host: for the workers. kernels: whether they are Jupyter kernels. on_change: called after every change.
    grace: seconds that a worker has to finish the requests it holds. hang: seconds that its event loop may be silent, 0
    for ever. own_processes: pids of this process's children in sessions of their own that belong to no worker. shared:
    whether every deployment in their namespace may call the workers.
    """

    folder: Path
    access: Access
    host: str | None
    kernels: bool
    ports: Ports
    gpus: Allocator
    on_change: Callable[[], None]
    grace: float = DRAIN_GRACE
    hang: float = HANG_LIMIT
    own_processes: set[int] = field(default_factory=set)
    shared: bool = False
    workers: list[WorkerProcess] = field(default_factory=list)
    _version: Release | None = None
    _asked: GraphSpec | None = None
    _scaled: dict[str, int] = field(default_factory=dict)
    _lost: dict[tuple[str, int], WorkerProcess] = field(default_factory=dict)
    _generation: int = 0
    _ending: bool = False
    _coming: dict[str, tuple[int, list[WorkerProcess]]] = field(default_factory=dict)
    _applying: asyncio.Lock = field(default_factory=asyncio.Lock)
    _restarts: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def spec(self) -> GraphSpec | None:
        """What is being served."""
        return self._version.spec if self._version is not None else None

    @property
    def release_id(self) -> str:
        """The id of the release that is served."""
        return self._version.id if self._version is not None else ""

    def applied(self) -> dict[str, Any]:
        """The release that is served, as its client applied it."""
        if self._version is None or self._asked is None:
            raise DeploymentError("nothing is being served yet", remedy="attach when `dynamo ps` lists its services")
        return replace(self._version, spec=self._asked).as_data()

    async def stop(self, grace: float) -> None:
        """Stops every worker, dependants first, so that requests under way can still be answered."""
        self._ending = True
        for task in list(self._restarts):
            task.cancel()
        # Whatever is being applied may be stuck in a start, or a hook, that never ends.
        for worker in self.workers:
            if worker.state in {"starting", "prepared"} or worker.reconfiguring:
                worker.kill()
        async with self._applying:
            order = list(self.spec.started) if self.spec is not None else []
            known = {name: [w for w in self.workers if w.service == name] for name in reversed(order)}
            for group in known.values():
                await asyncio.gather(*(worker.stop(grace) for worker in group))
            await asyncio.gather(*(worker.stop(0) for worker in self.workers if worker.service not in known))

    def status(self) -> dict[str, ServiceStatus]:
        """Every service of the spec."""
        services = {}
        for name, service in (self.spec.services if self.spec else {}).items():
            workers = [w for w in [*self.workers, *self._lost.values()] if w.service == name]
            services[name] = ServiceStatus(
                state=_state_of(workers) if service.running and service.enabled else "",
                desired=service.workers,
                digest=service.digest,
                workers=tuple(w.status() for w in sorted(workers, key=lambda w: (w.index, w.started))),
            )
        return services

    def rollout(self) -> dict[str, RolloutStatus]:
        """The services that get new workers in the change that is under way."""
        return {
            name: RolloutStatus(desired=desired, workers=tuple(worker.status() for worker in workers))
            for name, (desired, workers) in self._coming.items()
        }

    def kill(self) -> None:
        for worker in self.workers:
            worker.kill()

    async def restart(self, service: str) -> None:
        """Replaces the workers of one service by new ones of the same version."""
        async with self._applying:
            version = self._current(service)
            wanted = tuple(range(version.spec.services[service].workers))
            running = tuple(w.index for w in self._live(service))
            old = await self._bring_up(version, [Change(service, start=wanted, stop=running)])
            await _to_its_end(self._retire(old))

    async def scale(self, workers: dict[str, int]) -> None:
        """Changes how many workers services have."""
        async with self._applying:
            version = self._current(*workers)
            for name, count in workers.items():
                if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                    remedy = "give a whole number, 0 or more"
                    raise DeploymentError(f"{name} cannot have {count!r} workers", remedy=remedy)
            await self._become(replace(version, spec=self._asked or version.spec), {**self._scaled, **workers})

    def _current(self, *services: str) -> Release:
        """What runs. Raises DeploymentError if that is nothing, or not these services."""
        if self._version is None:
            raise DeploymentError("nothing is being served yet", remedy="serve a graph first")
        started = self._version.spec.started
        for name in services:
            if name not in started:
                raise DeploymentError(f"{name} is not running here", remedy=suggestion(name, started))
        return self._version

    async def apply(self, release: Release) -> None:
        """Makes the deployment be `release`, or leaves it as it was and raises why."""
        async with self._applying:
            await self._become(release, self._scaled)

    async def _become(self, version: Release, scaled: dict[str, int]) -> None:
        asked = version.spec
        # A service stays as it was scaled until its own number of workers is changed.
        kept = {
            name: count
            for name, count in scaled.items()
            if name in asked.started and asked.services[name].workers == self._asked_workers(name)
        }
        wanted = replace(version, spec=asked.with_workers(kept))
        for name, service in wanted.spec.started.items():
            if service.workers > MOST_WORKERS:
                what = f"{name} cannot have {service.workers:,} workers on this machine"
                raise PlacementError(what, remedy=f"ask for {MOST_WORKERS:,} or fewer")
        running = {}
        if self.spec is not None:
            for name in self.spec.started:
                if live := self._live(name):
                    indices = tuple(w.index for w in live)
                    running[name] = Running(live[-1].fingerprint, indices, self.spec.identity(name))
        for (name, index), lost in self._lost.items():
            if name not in wanted.spec.started or index >= wanted.spec.services[name].workers:
                self.gpus.free(lost.id)
        old = await self._bring_up(wanted, changes(running, wanted.spec))
        self._version, self._asked, self._scaled = wanted, asked, kept
        for name in running:
            if name not in wanted.spec.started:
                self.ports.release(name)
        self._lost = {slot: lost for slot, lost in self._lost.items() if self._vacant(lost)}
        self.on_change()
        await _to_its_end(self._retire(old))

    def _asked_workers(self, service: str) -> int | None:
        before = self._asked.services.get(service) if self._asked is not None else None
        return before.workers if before is not None else None

    def _live(self, service: str) -> list[WorkerProcess]:
        return [w for w in self.workers if w.service == service and w.state in {"starting", "prepared", "ready"}]

    async def _bring_up(self, version: Release, todo: list[Change]) -> list[list[WorkerProcess]]:
        """Starts what is new and moves traffic to it; gives what is old. On an error only what was there before is."""
        old = {change.service: [w for w in self._live(change.service) if w.index in change.stop] for change in todo}
        new: dict[str, list[WorkerProcess]] = {change.service: [] for change in todo}
        told: list[WorkerProcess] = []
        crowded: list[tuple[str, int]] = []
        self._coming = {change.service: (len(change.start), new[change.service]) for change in todo if change.start}
        try:
            for change in todo:
                if change.start and version.spec.services[change.service].http:
                    port = version.spec.config.get(change.service, {}).get("port")
                    self.ports.of(change.service, port if isinstance(port, int) else None)
            for change in todo:  # one after the other, so that which worker is given which GPU is no accident
                for index in change.start:
                    try:
                        new[change.service].append(self._place(version, change.service, index))
                    except PlacementError:
                        crowded.append((change.service, index))
                        if not self._will_fit(version.spec, crowded, old):
                            raise
            replaced = {change.service for change in todo if change.replaces}
            held = self._held_back(version.spec, new, crowded)
            await self._begin(version.spec, {n: group for n, group in new.items() if n not in held}, replaced)
            for change in todo:
                for worker in self._live(change.service):
                    if worker.index in change.reconfigure and worker not in new[change.service]:
                        told.append(worker)
                        await self._reconfigure(worker, version.spec)
            for slot in crowded:  # no GPU is spare for it: one by one, while the others go on serving
                worker = await self._place_in_turn(version, slot, old)
                new[worker.service].append(worker)
                await self._start(worker)
                await worker.begin()
                await worker.serve()
            await self._begin(version.spec, {name: new[name] for name in new if name in held}, replaced)
        except BaseException as error:
            ended = [worker for group in old.values() for worker in group if worker not in self._live(worker.service)]
            await _to_its_end(self._take_back(new, version.spec, ended, told))
            if self._ending and isinstance(error, DynamoError):
                raise DeploymentError(STOPPED) from None  # which is why its workers were killed
            raise
        finally:
            self._coming = {}
        return list(old.values())

    def _held_back(
        self, spec: GraphSpec, new: dict[str, list[WorkerProcess]], crowded: list[tuple[str, int]]
    ) -> set[str]:
        """The services that have to wait for one that has no worker until there is room for it."""
        lacking = {name for name, _ in crowded if all(w.state != "ready" for w in self._live(name))}
        held: set[str] = set()
        for name in filter(spec.started.__contains__, new):  # dependencies come before their dependants
            if (lacking | held).intersection(spec.awaited(name)):
                held.add(name)
        return held

    def _will_fit(self, spec: GraphSpec, crowded: list[tuple[str, int]], old: dict[str, list[WorkerProcess]]) -> bool:
        """Whether the GPUs of those that go are enough for those that found none."""
        needed = sum(spec.services[service].gpu for service, _ in crowded)
        return needed <= sum(self.gpus.share_of(worker.id) for group in old.values() for worker in group)

    async def _place_in_turn(
        self, version: Release, slot: tuple[str, int], old: dict[str, list[WorkerProcess]]
    ) -> WorkerProcess:
        """Places a worker where one that goes has been: its predecessor, or else one that nobody succeeds."""
        leaving = [w for group in old.values() for w in group if w.gpus and w in self._live(w.service)]
        stays = version.spec.started
        leaving.sort(
            key=lambda w: ((w.service, w.index) != slot, w.service in stays and w.index < stays[w.service].workers)
        )
        for holder in leaving:
            await holder.stop(self.grace)
            with suppress(PlacementError):
                return self._place(version, *slot, prefer=holder.gpus)
        return self._place(version, *slot)

    async def _retire(self, old: list[list[WorkerProcess]]) -> None:
        for group in reversed(old):
            await asyncio.gather(*(worker.stop(self.grace) for worker in group))

    async def _begin(self, spec: GraphSpec, new: dict[str, list[WorkerProcess]], replaced: set[str]) -> None:
        """Starts the workers side by side and builds the services, dependencies first.

        Those that replace others serve only when all are built.
        """
        built = {name: asyncio.Event() for name in new}
        order = list(new)

        async def begin(name: str, worker: WorkerProcess) -> None:
            await self._start(worker)
            for dependency in spec.awaited(name).intersection(order[: order.index(name)]):
                await built[dependency].wait()
            await worker.begin()
            if name not in replaced:
                await worker.serve()

        async def service(name: str) -> None:
            await _all(begin(name, worker) for worker in new[name])
            built[name].set()

        await _all(service(name) for name in new)
        await _all(worker.serve() for name in new if name in replaced for worker in new[name])

    async def _take_back(
        self,
        new: dict[str, list[WorkerProcess]],
        spec: GraphSpec,
        ended: list[WorkerProcess],
        told: list[WorkerProcess],
    ) -> None:
        """Stops what is new.

        ended: old workers that had to make room, or died meanwhile, and are started again. told: those that were given
        the new configuration, or refused it.
        """
        for worker in told:
            if self.spec is not None and worker.state == "ready":
                try:
                    await self._reconfigure(worker, self.spec)
                except DynamoError as error:  # nobody knows what it serves now: it is started again
                    worker.fail(error)
        fresh = [worker for group in new.values() for worker in group]
        await asyncio.gather(*(self._give_up(worker, ORPHAN_GRACE) for worker in fresh))
        await asyncio.gather(*(worker.stop(self.grace) for worker in ended))
        for name in spec.services:
            if self.spec is None or name not in self.spec.started:
                self.ports.release(name)
        for worker in ended:
            if (worker.service, worker.index) not in self._lost:
                self._lost[worker.service, worker.index] = worker
                self._begin_restarting(worker)

    async def _reconfigure(self, worker: WorkerProcess, spec: GraphSpec) -> None:
        await worker.reconfigure(json.dumps(spec.config), spec.fingerprint(worker.service))

    def _place(
        self, version: Release, name: str, index: int, *, prefer: Iterable[str] = (), restarts: int = 0
    ) -> WorkerProcess:
        """A new worker with its GPUs, which has not been started. Raises PlacementError if there are too few."""
        spec = version.spec
        service = spec.services[name]
        self._generation += 1
        worker_id = f"{name}.{index}.{self._generation}"
        lost = self._lost.get((name, index))
        if lost is not None:
            self.gpus.free(lost.id)
            prefer = lost.gpus
        gpus = self.gpus.take(worker_id, service.gpu, prefer)
        environ = {k: v for k, v in os.environ.items() if k not in _NOT_FOR_WORKERS}
        environ[VARIABLE] = json.dumps(spec.config)
        # Hidden rather than left open: a service that asks for no GPU must not find one that is somebody else's.
        environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the order in which NVML numbers them
        environ.update(service.envs)
        short = f"{self._generation:x}"
        launch = Launch(
            assignment=Assignment(
                service=name,
                worker_id=worker_id,
                targets={n: s.target for n, s in spec.services.items() if s.target},
                bindings={n: s.bindings for n, s in spec.services.items()},
                enabled={n: s.enabled for n, s in spec.services.items()},
                access=self.access,
                graph=self.folder.name,
                shared=self.shared,
                own=sorted(f"{s.namespace}/{s.name}" for s in spec.started.values()),
                version=version_of(spec.fingerprint(name)),
                capacity={"gpus": gpus, "cpu": service.cpu, "memory": service.memory},
                socket_dir=str(self.folder / "sockets"),
                folder=str(self.folder),
                host=self.host,
                http=self.ports.of(name) if service.http else None,
            ),
            control=str(self.folder / state_dir.CONTROL),
            log=str(self.folder / "logs" / f"{name}.{index}.log"),
            environ=environ,
            path=version.path,
            cwd=version.cwd,
            connection_file=str(self.folder / "kernels" / f"{short}.json") if self.kernels else "",
        )
        worker = WorkerProcess(
            service=name,
            index=index,
            launch=launch,
            fingerprint=spec.fingerprint(name),
            gpus=gpus,
            on_change=self._changed,
            on_end=self._bury,
            grace=self.grace,
            hang=self.hang,
            restarts=restarts,
        )
        self.workers.append(worker)
        return worker

    async def _start(self, worker: WorkerProcess) -> None:
        """Starts the process of a worker. If that fails, nothing of the worker is left."""
        try:
            self._must_not_end()
            await worker.start(self.kernels)
            self._must_not_end()
        except BaseException:
            await _to_its_end(self._give_up(worker, 0))
            raise
        self._lost.pop((worker.service, worker.index), None)
        self.on_change()

    def _must_not_end(self) -> None:
        if self._ending:
            raise DeploymentError(STOPPED)

    async def _give_up(self, worker: WorkerProcess, grace: float) -> None:
        """Stops a worker, or takes back its place if it has not been started."""
        if worker.process is not None:
            await worker.stop(grace)
        elif worker in self.workers:
            self.workers.remove(worker)
            self.gpus.free(worker.id)

    async def _bury(self) -> None:
        await bury_orphans(self.own_processes)

    # --- workers that end by themselves -----------------------------------------------------------------------------

    def _changed(self, worker: WorkerProcess) -> None:
        if worker.gone.is_set() and worker in self.workers:
            self.workers.remove(worker)
            if worker.state == "failed" and (worker.instance_id or worker.restarts) and self._vacant(worker):
                self._lost[worker.service, worker.index] = worker  # keeps its GPU, which another deployment could take
                if worker.instance_id:
                    self._begin_restarting(worker)
            else:
                self.gpus.free(worker.id)
        self.on_change()

    def _vacant(self, lost: WorkerProcess) -> bool:
        """Whether a worker is wanted in the place of this one, and none is there."""
        if self._ending or self.spec is None or lost.service not in self.spec.started:
            return False
        wanted = self.spec.services[lost.service].workers
        return lost.index < wanted and all(w.index != lost.index for w in self._live(lost.service))

    def _begin_restarting(self, lost: WorkerProcess) -> None:
        task = asyncio.create_task(self._restart(lost))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def _restart(self, lost: WorkerProcess) -> None:
        """Puts a new worker in the place of one that ended, on the same GPU, after a while; until one serves well."""
        slot, restarts = (lost.service, lost.index), lost.restarts
        crashes = 0 if lost.served >= HEALTHY_AFTER else lost.crashes
        while True:
            crashes += 1
            restarts += 1
            if lost.error is not None:
                _report(lost, crashes)
            await asyncio.sleep(min(FIRST_BACKOFF * 2 ** min(crashes - 1, 10), MAX_BACKOFF))
            async with self._applying:
                if self._version is None or not self._vacant(lost):
                    self._lost.pop(slot, None)
                    self.gpus.free(lost.id)
                    self.on_change()
                    return
                try:
                    worker = self._place(self._version, *slot, prefer=lost.gpus, restarts=restarts)
                    await self._start(worker)
                except DynamoError as error:
                    lost.error = error
                    continue
            worker.crashes = crashes
            if crashes >= CRASH_LOOP:
                worker.crash = lost.error
            try:
                await worker.begin()
                await worker.serve()
                break
            except DynamoError:
                await worker.stop(0)
            lost = worker
        with suppress(TimeoutError):
            async with asyncio.timeout(HEALTHY_AFTER):
                await worker.gone.wait()
            return
        if worker.crash is not None:
            print(f"worker {worker.index} of {worker.service} serves again, restarted {crashes} times", flush=True)
            worker.crash = None
            self.on_change()


def _report(lost: WorkerProcess, crashes: int) -> None:
    """Tells of a worker's end, with the last lines of its log; of one that ends again and again once."""
    if crashes < CRASH_LOOP:
        print(f"{lost.error}\nrestarting worker {lost.index} of {lost.service}", flush=True)
    elif crashes == CRASH_LOOP:
        print(
            f"{lost.error}\nit ends again and again: worker {lost.index} of {lost.service} is restarted every "
            f"{MAX_BACKOFF:g} s or sooner, which is told when it has served for {HEALTHY_AFTER:g} s",
            flush=True,
        )


async def _to_its_end(step: Coroutine[Any, Any, None]) -> None:
    """Does what must not be left half done, even if whoever asked for it goes away meanwhile."""
    task = asyncio.create_task(step)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()


async def _all(steps: Iterable[Awaitable[None]]) -> None:
    """Runs steps side by side; the first error ends the others and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)  # type: ignore[arg-type]
    except ExceptionGroup as errors:  # what `except*` raises is a group again on Python before 3.11.4
        raise errors.exceptions[0] from None


def _state_of(workers: list[WorkerProcess]) -> str:
    """One word for a service: the worst that matters of its workers' states."""
    states = {w.state for w in workers}
    for state in ("failed", "starting", "prepared", "ready", "draining"):
        if state in states:
            return "starting" if state == "prepared" else state
    return "stopped"
