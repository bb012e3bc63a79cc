"""Changes a deployment, one request after the other: applies a release, scales and restarts services, stops all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from dynamo_nb.control.release import Release
from dynamo_nb.control.status import RolloutStatus
from dynamo_nb.errors import DeploymentError, DynamoError, suggestion
from dynamo_nb.supervisor.change_events import change_events
from dynamo_nb.supervisor.desired import Desired
from dynamo_nb.supervisor.reconcile import Change, Running, changes
from dynamo_nb.supervisor.registry import WorkerRegistry
from dynamo_nb.supervisor.restarts import Restarts
from dynamo_nb.supervisor.rollout import Rollout
from dynamo_nb.supervisor.tasks import run_to_end


class Controller:
    """Brings the workers of a registry to the state that clients ask for.

    A change that fails leaves everything as it was. Workers that end by themselves are restarted.
    """

    def __init__(self, registry: WorkerRegistry) -> None:
        self.registry = registry
        self._changing = asyncio.Lock()
        self._restarts = Restarts(registry)
        self._rollout: Rollout | None = None
        registry.on_lost = self._restarts.begin

    @property
    def release(self) -> Release:
        """The release that is served, as its client applied it. Raises DeploymentError before the first one."""
        if self.registry.desired is None:
            raise DeploymentError("nothing is being served yet", remedy="attach when `dynamo ps` lists its services")
        return self.registry.desired.applied

    def rollout(self) -> dict[str, RolloutStatus]:
        """The services that get new workers in the current change."""
        return self._rollout.status() if self._rollout is not None else {}

    async def apply(self, release: Release) -> None:
        """Serves another release. Raises why that fails."""
        async with self._changing:
            with self._noting("an update"):
                desired = self.registry.desired
                await self._become(desired.apply(release) if desired is not None else Desired(release))

    async def scale(self, workers: dict[str, int]) -> None:
        """Changes how many workers services have."""
        numbers = ", ".join(f"{name}={number}" for name, number in workers.items())
        async with self._changing:
            with self._noting(f"scaling to {numbers}"):
                await self._become(self._serving(*workers).scale(workers))

    async def restart(self, service: str) -> None:
        """Replaces the workers of a service by new ones of the same release."""
        async with self._changing:
            with self._noting(f"a restart of {service}"):
                desired = self._serving(service)
                start = tuple(range(desired.spec.services[service].workers))
                stop = tuple(worker.slot.index for worker in self.registry.live(service))
                await self._roll_out(desired, [Change(service, start=start, stop=stop)])

    async def stop(self, grace: float) -> None:
        """Stops every worker, dependants first, so that requests in flight can be answered.

        Args:
            grace: seconds for each worker.
        """
        registry = self.registry
        registry.closing = True
        await self._restarts.cancel()
        # The current change may be waiting for a start, or a hook, that never ends.
        for worker in registry.workers:
            if worker.state in {"starting", "prepared"} or worker.lifeline.reconfiguring:
                worker.kill()
        async with self._changing:
            order = list(registry.desired.spec.started) if registry.desired is not None else []
            groups = {name: [w for w in registry.workers if w.service == name] for name in reversed(order)}
            for group in groups.values():
                await asyncio.gather(*(worker.stop(grace) for worker in group))
            await asyncio.gather(*(worker.stop(0) for worker in registry.workers if worker.service not in groups))

    def kill(self) -> None:
        """Kills every worker."""
        for worker in self.registry.workers:
            worker.kill()

    def _serving(self, *services: str) -> Desired:
        """The desired state.

        Raises:
            DeploymentError: Nothing was applied yet, or a service is not started.
        """
        desired = self.registry.desired
        if desired is None:
            raise DeploymentError("nothing is being served yet", remedy="serve a graph first")
        for name in services:
            if name not in desired.spec.started:
                raise DeploymentError(f"{name} is not running here", remedy=suggestion(name, desired.spec.started))
        return desired

    @contextmanager
    def _noting(self, change: str) -> Iterator[None]:
        """Adds an event if the change fails."""
        try:
            yield
        except DynamoError as error:
            text = f"{change} failed{self._old_version}: {error.what.splitlines()[0]}"
            self.registry.events.add("change failed", text, detail=str(error))
            raise
        except asyncio.CancelledError:
            self.registry.events.add("change failed", f"{change} was cancelled{self._old_version}")
            raise

    @property
    def _old_version(self) -> str:
        return ", and the old version still serves" if self.registry.desired is not None else ""

    async def _become(self, desired: Desired) -> None:
        registry, running = self.registry, self._running()
        for lost in registry.lost:
            if not desired.has(lost.slot):
                registry.free(lost)
        await self._roll_out(desired, changes(running, desired.spec))

    async def _roll_out(self, desired: Desired, todo: list[Change]) -> None:
        before = self.registry.desired
        rollout = self._rollout = Rollout(self.registry, self._restarts, desired, todo)
        try:
            await rollout.run()
        finally:
            self._rollout = None
            self.registry.on_change()
        for event in change_events(before.spec if before is not None else None, desired.spec, todo):
            self.registry.events.add(event.kind, event.text, service=event.service)
        for change in todo:
            if change.service not in desired.spec.started:
                self.registry.placement.ports.release(change.service)
        await run_to_end(rollout.retire())

    def _running(self) -> dict[str, Running]:
        """The running workers, by service."""
        found = {}
        if self.registry.desired is not None:
            spec = self.registry.desired.spec
            for name in spec.started:
                if live := self.registry.live(name):
                    indices = tuple(worker.slot.index for worker in live)
                    found[name] = Running(live[-1].fingerprint, indices, spec.identity(name))
        return found
