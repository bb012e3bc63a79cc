"""The workers of a deployment, and the ones that are missing: the only place where a worker is added or removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dynamo_nb.control.options import DRAIN_GRACE, HANG_LIMIT
from dynamo_nb.control.release import Release
from dynamo_nb.control.status import ServiceStatus
from dynamo_nb.control.subreaper import kill_adopted
from dynamo_nb.errors import DeploymentError
from dynamo_nb.supervisor.desired import Desired, Slot
from dynamo_nb.supervisor.event_log import EventLog
from dynamo_nb.supervisor.oom_kills import OomKills
from dynamo_nb.supervisor.placement import Placement
from dynamo_nb.supervisor.tasks import run_to_end
from dynamo_nb.supervisor.worker_process import Role, WorkerProcess


@dataclass
class WorkerRegistry:
    """Owns the workers of a deployment.

    Attributes:
        placement: allocates their GPUs and ports.
        on_change: called after every change of a worker.
        grace: seconds for a worker to finish its requests.
        hang: seconds that a worker may be silent; 0 for no limit.
        worker_class: class of the workers.
        events: events of the deployment.
        own_processes: pids of this process's children in other sessions that are no workers.
        on_lost: called with a worker that served and has left by itself, if its slot is vacant.
        desired: desired state of the current workers; None before the first release.
        incoming: desired state of the candidates; None without a rollout.
        closing: True once the deployment is being stopped. No worker is started any more.
        workers: all workers, from their placement until their process has ended.
        lost: workers that have left by themselves and are not replaced yet. They keep their GPUs. One that finishes its
            requests is among `workers` too.
    """

    placement: Placement
    on_change: Callable[[], None]
    grace: float = DRAIN_GRACE
    hang: float = HANG_LIMIT
    worker_class: type[WorkerProcess] = WorkerProcess
    events: EventLog = field(default_factory=EventLog)
    own_processes: set[int] = field(default_factory=set)
    on_lost: Callable[[WorkerProcess], None] = lambda _: None
    desired: Desired | None = None
    incoming: Desired | None = None
    closing: bool = False
    workers: list[WorkerProcess] = field(default_factory=list)
    lost: list[WorkerProcess] = field(default_factory=list)
    _oom_kills: OomKills = field(default_factory=OomKills)

    def live(self, service: str, role: Role = "current") -> list[WorkerProcess]:
        """The workers of a service that start or serve, in one role."""
        return [w for w in self.workers if w.service == service and w.role == role and w.live]

    def state_of(self, worker: WorkerProcess) -> Desired | None:
        """The desired state that a worker belongs to; None if nothing desires it."""
        return {"candidate": self.incoming, "current": self.desired, "retired": None}[worker.role]

    def vacant(self, lost: WorkerProcess) -> bool:
        """True if another worker should take the place of one that has left, and none has yet."""
        state = self.state_of(lost)
        if self.closing or state is None or not state.has(lost.slot):
            return False
        return all(worker.slot != lost.slot for worker in self.live(lost.service, lost.role))

    def outdated(self, worker: WorkerProcess) -> bool:
        """True if the desired state of a worker has changed in what it has started with."""
        state = self.state_of(worker)
        return state is not None and worker.fingerprint != state.spec.fingerprint(worker.service)

    def place(
        self,
        release: Release,
        slot: Slot,
        *,
        role: Role = "current",
        prefer: Iterable[str] = (),
        restarts: int = 0,
    ) -> WorkerProcess:
        """Adds a worker, without starting it. One that was lost from the slot and has ended passes on its GPUs.

        Args:
            release: release that it runs.
            slot: its place.
            role: its role.
            prefer: ids of the GPUs to take first.
            restarts: number of restarts of the slot.

        Raises:
            PlacementError: too few GPUs are free.
        """
        shares = {lost: self.placement.gpus.share_of(lost.id) for lost in self._ended(slot)}
        for lost in shares:
            self.placement.free(lost.id)
            prefer = lost.gpus
        try:
            launch = self.placement.launch(release, slot, prefer)
        except BaseException:
            for lost, share in shares.items():
                self.placement.hold(lost.id, share, lost.gpus)
            raise
        worker = self.worker_class(
            slot=slot,
            launch=launch,
            fingerprint=release.spec.fingerprint(slot.service),
            on_change=self._changed,
            on_end=self._kill_adopted,
            grace=self.grace,
            hang=self.hang,
            role=role,
            restarts=restarts,
            events=self.events,
            oom_kills=self._oom_kills,
        )
        self.workers.append(worker)
        return worker

    async def start(self, worker: WorkerProcess) -> None:
        """Starts the process of a worker. If that fails, the worker is removed."""
        try:
            self._check_open()
            await worker.start()
            self._check_open()
        except BaseException:
            await run_to_end(self.discard(worker, 0))
            raise
        self._drop_lost(lambda lost: (lost.slot, lost.role) == (worker.slot, worker.role))
        self.on_change()

    async def discard(self, worker: WorkerProcess, grace: float) -> None:
        """Stops a worker, or removes it if it was not started."""
        if worker.process is not None:
            await worker.stop(grace)
        else:
            self.withdraw(worker)

    def withdraw(self, worker: WorkerProcess) -> None:
        """Removes a worker that was not started."""
        if worker in self.workers:
            self.workers.remove(worker)
            self._free(worker)

    def _ended(self, slot: Slot) -> list[WorkerProcess]:
        """The lost workers of a slot whose processes have ended."""
        return [lost for lost in self.lost if lost.slot == slot and lost.gone.is_set()]

    def _free(self, worker: WorkerProcess) -> None:
        """Frees the GPUs of a worker. Of one that could not be started, the lost worker before it gets them back."""
        share = self.placement.gpus.share_of(worker.id)
        self.placement.free(worker.id)
        for lost in self._ended(worker.slot):
            if not self.placement.gpus.share_of(lost.id):
                self.placement.hold(lost.id, share, worker.gpus)

    def end_rollout(self, desired: Desired | None, retired: Iterable[WorkerProcess] = ()) -> None:
        """Ends a rollout.

        Args:
            desired: the new desired state, for which the candidates become current workers; None if the rollout
                failed.
            retired: current workers that the candidates replace, or that are not needed any more.
        """
        if desired is not None:
            self.desired = desired
            for worker in retired:
                worker.role = "retired"
            for worker in [*self.workers, *self.lost]:
                if worker.role == "candidate":
                    worker.role = "current"
        self.incoming = None
        self._drop_lost(lambda lost: not self.vacant(lost))

    def free(self, worker: WorkerProcess) -> None:
        """Frees the GPUs of a worker that has ended; one that has not frees them at its end."""
        if worker.gone.is_set():
            self.placement.free(worker.id)

    def status(self) -> dict[str, ServiceStatus]:
        """Every service of the graph."""
        services = {}
        for name, service in (self.desired.spec.services if self.desired else {}).items():
            workers = [w for w in dict.fromkeys([*self.workers, *self.lost]) if w.service == name]
            services[name] = ServiceStatus(
                state=_state_of(workers) if service.running and service.enabled else "",
                desired=service.workers,
                digest=service.digest,
                workers=tuple(w.status() for w in sorted(workers, key=lambda w: (w.slot.index, w.started))),
            )
        return services

    def _check_open(self) -> None:
        if self.closing:
            raise closing_error()

    def _drop_lost(self, replaced: Callable[[WorkerProcess], bool]) -> None:
        for lost in self.lost:
            if replaced(lost):
                lost.replaced = True
                self.free(lost)
        self.lost = [lost for lost in self.lost if not lost.replaced]

    def _changed(self, worker: WorkerProcess) -> None:
        served = worker.instance_id or worker.restarts
        if worker.left and served and not worker.replaced and worker not in self.lost and self.vacant(worker):
            self.lost.append(worker)  # keeps its GPUs, which another deployment could take
            if worker.instance_id:
                self.on_lost(worker)
        if worker.gone.is_set() and worker in self.workers:
            self.workers.remove(worker)
            if worker not in self.lost:
                self._free(worker)
        if not worker.live and not self._accepts(worker.service):
            self.placement.ports.refuse(worker.service)
        self.on_change()

    def _accepts(self, service: str) -> bool:
        """True if HTTP connections to a service may wait: a worker accepts them, or will soon."""
        workers = [worker for worker in [*self.workers, *self.lost] if worker.service == service]
        if any(worker.state == "ready" for worker in workers):
            return True
        spec = self.desired.spec if self.desired is not None and not self.closing else None
        if spec is None or service not in spec.started or spec.started[service].workers == 0:
            return False
        return all(worker.crash is None for worker in workers)

    async def _kill_adopted(self) -> None:
        await kill_adopted({*self.own_processes, *(worker.pid for worker in self.workers)})


def closing_error() -> DeploymentError:
    return DeploymentError("the deployment is being stopped")


def _state_of(workers: list[WorkerProcess]) -> str:
    """The state of a service: of its workers' states, the one that most needs attention."""
    states = {worker.state for worker in workers}
    for state in ("failed", "starting", "prepared", "ready", "draining"):
        if state in states:
            return "starting" if state == "prepared" else state
    return "stopped"
