"""A rollout: one change of a deployment's workers.

New workers start beside the old ones and take over together once all of them are ready. Until then, an error leaves
everything as it was. Workers that end by themselves meanwhile, old or new, are restarted: nothing here may take for
granted which of them runs after an await.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Final

from dynamo_nb.control.status import RolloutStatus
from dynamo_nb.errors import DynamoError, PlacementError
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.supervisor.desired import Desired, Slot, has_slot
from dynamo_nb.supervisor.reconcile import Change
from dynamo_nb.supervisor.registry import WorkerRegistry, closing_error
from dynamo_nb.supervisor.restarts import Restarts
from dynamo_nb.supervisor.tasks import run_all, run_to_end
from dynamo_nb.supervisor.worker_process import WorkerProcess

UNDO_GRACE: Final = 1.5
"""Seconds for a new worker to end when its rollout is undone. Most of them have not taken a request yet."""


class Rollout:
    """Carries out the changes from the workers that run to a desired state.

    Args:
        registry: registry of the workers; `registry.desired` is still the state before the rollout.
        restarts: for old workers that were stopped when the rollout is undone.
        desired: the state that the new workers belong to.
        changes: changes by service, see `reconcile.changes`.
    """

    def __init__(
        self, registry: WorkerRegistry, restarts: Restarts, desired: Desired, changes: Sequence[Change]
    ) -> None:
        self._registry, self._restarts = registry, restarts
        self._desired, self._changes = desired, changes
        self._replaced = {change.service for change in changes if change.replaces}
        self._waiting: list[Slot] = []  # for a GPU that an old worker has
        self._stopped: list[WorkerProcess] = []  # for their GPUs
        self._reconfigured: list[WorkerProcess] = []
        self._new: dict[str, list[WorkerProcess]] = {change.service: [] for change in changes}

    @property
    def _spec(self) -> GraphSpec:
        return self._desired.spec

    def status(self) -> dict[str, RolloutStatus]:
        """The services that get new workers."""
        candidates = [worker for worker in self._registry.workers if worker.role == "candidate"]
        return {
            change.service: RolloutStatus(
                desired=len(change.start),
                workers=tuple(worker.status() for worker in candidates if worker.service == change.service),
            )
            for change in self._changes
            if change.start
        }

    async def run(self) -> None:
        """Starts the new workers and lets them take over. On an error, undoes everything and raises it."""
        self._registry.incoming = self._desired
        try:
            await self._registry.placement.ending.wait(self._place, self._registry.on_change)
            held = held_back(self._spec, self._new, self._lacking())
            await self._bring_up([name for name in self._new if name not in held])
            await self._reconfigure()
            for slot in self._waiting:  # one by one, while the others serve
                worker = await self._replace_in_turn(slot)
                self._new[slot.service].append(worker)
                if slot.service not in held:
                    await self._registry.start(worker)
                    await worker.begin()
                    await worker.serve()
            await self._bring_up([name for name in self._new if name in held])
            await self._reconfigure()  # workers that were restarted meanwhile
        except BaseException as error:
            await run_to_end(self._undo())
            if self._registry.closing and isinstance(error, DynamoError):
                raise closing_error() from None  # the error is that its workers were killed
            raise
        self._registry.end_rollout(self._desired, self._old_workers())

    async def retire(self) -> None:
        """Stops the old workers, dependants first."""
        for change in reversed(self._changes):
            old = self._registry.live(change.service, "retired")
            await asyncio.gather(*(worker.stop(self._registry.grace) for worker in old))

    # --- the steps ------------------------------------------------------------------------------------------------

    def _place(self, awaited: Collection[int]) -> None:
        """Places the new workers, in order: which worker gets which GPU does not depend on timing.

        Args:
            awaited: see `Ports.reserve`.
        """
        if self._registry.closing:
            raise closing_error()
        for change in self._changes:
            if change.start:
                self._registry.placement.reserve_port(self._spec, change.service, awaited)
        try:
            for change in self._changes:
                for index in change.start:
                    self._place_or_wait(Slot(change.service, index))
        except PlacementError:
            for workers in self._new.values():
                while workers:
                    self._registry.withdraw(workers.pop())
            self._waiting.clear()
            raise

    def _place_or_wait(self, slot: Slot) -> None:
        try:
            self._new[slot.service].append(self._place_one(slot))
        except PlacementError:
            self._waiting.append(slot)
            needed = sum(self._spec.services[waiting.service].gpu for waiting in self._waiting)
            if needed > self._leaving_gpus():
                raise

    async def _bring_up(self, services: Sequence[str]) -> None:
        """Starts the workers side by side and builds the services, dependencies first.

        Workers of services that replace others take requests once all workers are built.
        """
        built = {name: asyncio.Event() for name in services}

        async def begin(name: str, worker: WorkerProcess) -> None:
            await self._registry.start(worker)
            for dependency in self._spec.awaited(name).intersection(services[: services.index(name)]):
                await built[dependency].wait()
            await worker.begin()
            if name not in self._replaced:
                await worker.serve()

        async def build(name: str) -> None:
            await run_all(begin(name, worker) for worker in self._new[name])
            built[name].set()

        await run_all(build(name) for name in services)
        await self._take_over([name for name in services if name in self._replaced])

    async def _take_over(self, services: Sequence[str]) -> None:
        """Lets new workers take requests, dependencies first: a new caller must find workers with its contract."""
        serving = {name: asyncio.Event() for name in services}

        async def serve(name: str) -> None:
            targets = {target for target in self._spec.services[name].bindings.values() if target is not None}
            for dependency in targets.intersection(services[: services.index(name)]):
                await serving[dependency].wait()
            await run_all(worker.serve() for worker in self._new[name])
            serving[name].set()

        await run_all(serve(name) for name in services)

    async def _reconfigure(self) -> None:
        while (worker := self._outdated()) is not None:
            self._reconfigured.append(worker)
            await _configure(worker, self._spec)

    def _outdated(self) -> WorkerProcess | None:
        """A ready worker that goes on, with the configuration before the rollout. Restarts replace one that starts."""
        for change in self._changes:
            for worker in self._registry.live(change.service):
                goes_on = worker.state == "ready" and worker.slot.index in change.reconfigure
                if goes_on and worker.fingerprint != self._spec.fingerprint(change.service):
                    return worker
        return None

    async def _replace_in_turn(self, slot: Slot) -> WorkerProcess:
        """Stops old workers until there is a GPU for a new one, and places it."""
        while holders := [worker for worker in [*self._old_workers(), *self._leaving()] if worker.gpus]:
            holder = min(holders, key=lambda holder: (holder.live, *release_rank(holder.slot, slot, self._spec)))
            self._stopped.append(holder)
            await holder.stop(self._registry.grace)
            with suppress(PlacementError):
                return self._place_one(slot, prefer=holder.gpus)
        return self._place_one(slot)

    def _place_one(self, slot: Slot, prefer: Iterable[str] = ()) -> WorkerProcess:
        return self._registry.place(self._desired.release, slot, role="candidate", prefer=prefer)

    async def _undo(self) -> None:
        """Stops the new workers and restores the old state. Old workers that were stopped are started again."""
        registry = self._registry
        before = registry.desired.spec if registry.desired is not None else None
        registry.end_rollout(None)
        for worker in self._reconfigured:
            if before is not None and worker.state == "ready":
                try:
                    await _configure(worker, before)
                except DynamoError as error:  # its configuration is unknown now: it is started again
                    worker.fail(error)
        new = [worker for worker in registry.workers if worker.role == "candidate"]
        await asyncio.gather(*(registry.discard(worker, UNDO_GRACE) for worker in new))
        await asyncio.gather(*(worker.stop(registry.grace) for worker in self._stopped))
        for name in self._spec.services:
            if before is None or name not in before.started:
                registry.placement.ports.release(name)
        for worker in self._stopped:
            if registry.vacant(worker) and worker not in registry.lost:
                registry.lost.append(worker)
                self._restarts.begin(worker)

    # --- what the steps depend on ---------------------------------------------------------------------------------

    def _old_workers(self) -> list[WorkerProcess]:
        """The workers that the new ones replace, or that are not needed any more."""
        taken = {Slot(change.service, index) for change in self._changes for index in change.start}
        current = [worker for change in self._changes for worker in self._registry.live(change.service)]
        return [worker for worker in current if worker.slot in taken or not self._desired.has(worker.slot)]

    def _leaving_gpus(self) -> float:
        """The GPUs of workers that end in this rollout."""
        leaving = [*self._old_workers(), *self._leaving()]
        return sum(self._registry.placement.gpus.share_of(worker.id) for worker in leaving)

    def _leaving(self) -> list[WorkerProcess]:
        """The workers that have left by themselves and have not ended yet."""
        return [worker for worker in self._registry.workers if worker.role != "candidate" and worker.left]

    def _lacking(self) -> set[str]:
        """The services without a ready worker that wait for a GPU."""
        waiting = {slot.service for slot in self._waiting}
        return {name for name in waiting if all(w.state != "ready" for w in self._registry.live(name))}


def held_back(spec: GraphSpec, services: Iterable[str], lacking: Collection[str]) -> set[str]:
    """The services that cannot be built yet, because they wait for one that lacks workers, directly or not.

    Args:
        spec: GraphSpec of the release.
        services: services of the rollout.
        lacking: services without workers until there is a GPU for them.
    """
    held: set[str] = set()
    for name in filter(spec.started.__contains__, services):  # dependencies come before their dependants
        if not spec.awaited(name).isdisjoint(held.union(lacking)):
            held.add(name)
    return held


def release_rank(holder: Slot, slot: Slot, spec: GraphSpec) -> tuple[bool, bool]:
    """The sort key of an old worker: the lowest releases its GPUs first, for a new worker in `slot`.

    The predecessor of the new worker comes first, then workers without a successor in `spec`, then the others.
    """
    return holder != slot, has_slot(spec, holder)


async def _configure(worker: WorkerProcess, spec: GraphSpec) -> None:
    await worker.reconfigure(json.dumps(spec.config), spec.fingerprint(worker.service))
