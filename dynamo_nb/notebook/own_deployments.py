"""The deployments of one notebook: which of them are running, and how they follow the cells."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dynamo_nb.errors import ContractError, DynamoError
from dynamo_nb.source import Cell, services_in

if TYPE_CHECKING:
    from dynamo_nb.deployment.deployment import Deployment
    from dynamo_nb.notebook.cell_tracker import CellTracker

_CELL = re.compile(r"cell \d+")


class OwnDeployments:
    """The deployments that were started in a notebook or attached to it.

    Args:
        cells: The cells of the notebook.
        on_status: Called with a deployment when its status changes, on the portal's loop.

    Attributes:
        all: The deployments that have not ended, oldest first. Ended and disconnected ones are removed after the next
            cell.
    """

    def __init__(self, cells: CellTracker, on_status: Callable[[Deployment], None]) -> None:
        self._cells, self._on_status = cells, on_status
        self.all: list[Deployment] = []
        self._started_by: dict[Deployment, tuple[str, int]] = {}
        self._starting: list[Deployment] = []
        self._printed: set[str] = set()
        self._failed_edits: dict[str, str] = {}
        """Services of cells that failed, each with the key of the cell."""

    @property
    def shown(self) -> list[Deployment]:
        """The deployments, including those whose first workers start."""
        return [*self.all, *self._starting]

    @contextmanager
    def starting(self, deployment: Deployment) -> Iterator[None]:
        """Shows the states of a deployment while its first workers start.

        Args:
            deployment: The deployment.
        """
        self._starting.append(deployment)
        deployment.listeners.append(self._on_status)
        self._on_status(deployment)
        try:
            yield
        finally:
            self._starting.remove(deployment)
            deployment.listeners.remove(self._on_status)

    def add(self, deployment: Deployment) -> None:
        """Adds a deployment that was attached."""
        self._add(deployment)
        for warning in deployment.warnings:
            print(warning)
        if not deployment.owned:
            id_ = deployment.id
            print(f"{id_} is detached; `%dynamo attach {id_}` connects to it again")

    def add_started(self, deployment: Deployment) -> None:
        """Adds a deployment that the running cell started."""
        others = [other for other in self.all if not other.ended and other.spec.entry == deployment.spec.entry]
        self.add(deployment)
        self._mark(deployment)
        for other in others:
            number = self._started_by.get(other, ("", 0))[1]
            served = f"served by cell {number}" if number else "attached"
            update = f"run cell {number} again to update it" if number else f"`%dynamo attach {other.id}` returns it"
            print(f"{other.id}, {served}, keeps running too: {update}, `%dynamo stop {other.id}` stops it")

    def add_found(self, deployment: Deployment) -> None:
        """Adds a deployment that an earlier kernel left running, and that the running cell updates."""
        self._add(deployment)
        self._mark(deployment)
        print(f"{deployment.id} is still running, detached: this cell updates it")

    def _add(self, deployment: Deployment) -> None:
        self.all.append(deployment)
        deployment.listeners.append(self._on_status)

    def _mark(self, deployment: Deployment) -> None:
        if (running := self._cells.running) is not None:
            self._started_by[deployment] = (running.key, running.number)

    def earlier(self, entry: str) -> Deployment | None:
        """Returns the deployment that the running cell updates instead of starting another one.

        Args:
            entry: The entry service.

        Returns:
            The deployment that an earlier run of the running cell started, or an attached one; None if there is none.
        """
        running = self._cells.running
        for deployment in reversed(self.all):
            if running is None or deployment.ended or deployment.spec.entry != entry:
                continue
            key, number = self._started_by.get(deployment, (running.key, 0))  # any cell may take an attached one
            if key == running.key and number < running.number:
                return deployment
        return None

    def updated(self, deployment: Deployment, changes: str) -> None:
        """Called when the running cell has updated a deployment instead of starting another one.

        Args:
            deployment: The deployment.
            changes: What the cell changed, or `unchanged`.
        """
        self._mark(deployment)
        print(f"{deployment.id} keeps running, {changes}")

    def follow(self, *, again: bool) -> bool:
        """Updates every deployment to the cells, and prints what was replaced or held back.

        A deployment that cannot be updated does not stop the others. A change that is held back is not an error: the
        next cell may complete it, so "Run All" must continue.

        Args:
            again: Also try an update that failed before.

        Returns:
            False if a change was held back.

        Raises:
            DynamoError: The first error, after all deployments were tried.
        """
        self.all = [deployment for deployment in self.all if deployment.connected and not deployment.ended]
        self._started_by = {d: cell for d, cell in self._started_by.items() if d in self.all}
        errors = []
        held = False
        for deployment in self.all:
            before = {name: _pids(deployment, name) for name in deployment.spec.started}
            began = time.perf_counter()
            try:
                updated = deployment.follow(again=again).result()
            except ContractError as error:
                held = True
                print(f"{deployment.id}: {error}")
                continue
            except DynamoError as error:
                errors.append(error)
                continue
            if updated:
                seconds = time.perf_counter() - began
                changed = [n for n in deployment.spec.started if _pids(deployment, n) != before.get(n)]
                self._failed_edits = {n: key for n, key in self._failed_edits.items() if n not in changed}
                gone = [n for n in before if n not in deployment.spec.started]
                parts = [f"replaced {', '.join(changed)}"] * bool(changed) + [f"stopped {', '.join(gone)}"] * bool(gone)
                if parts:
                    print(f"{deployment.id}: {'; '.join(parts)} in {seconds:.1f} s")
                for service, reason in deployment.follower.also_replaced.items():
                    if service in changed:
                        print(f"  {service} too: {reason}")
        if errors:
            raise errors[0]
        return not held

    def note_edit(self, cell: Cell, *, failed: bool, reported: bool) -> None:
        """Marks the services of a failed cell as edited, and reports that their old version serves.

        Args:
            cell: The cell that has ended.
            failed: True if the cell, or the update of a deployment to it, failed.
            reported: True if the error under the cell already reports that the old version serves.
        """
        runs = [known for known in self._cells.book if known.key == cell.key]
        services = {name for run in [cell, *runs] for name in services_in([run]).values()}
        self._failed_edits = {name: key for name, key in self._failed_edits.items() if key != cell.key}
        if failed:
            self._failed_edits |= dict.fromkeys(services, cell.key)
        else:
            self._failed_edits = {n: key for n, key in self._failed_edits.items() if n not in services}
        for deployment in [deployment for deployment in self.all if not deployment.ended]:
            deployment.note_failed_edits(self._failed_edits)
            unserved = deployment.follower.unserved if cell.failed_at is None else frozenset()
            about = sorted(deployment.edited & (services | unserved))
            if failed and about and not reported:
                from dynamo_nb.deployment.supervisor_connection import old_version

                print(old_version(about))

    async def update(self) -> None:
        """Updates every deployment between cells, without printing.

        Raises:
            DynamoError: The first error, after all deployments were tried.
        """
        errors = []
        for deployment in [deployment for deployment in self.all if not deployment.ended]:
            try:
                await deployment.follow()
            except DynamoError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def print_notes(self) -> None:
        """Prints each note once: differences between values in the notebook and in the workers."""
        keys = {cell.label: cell.key for cell in self._cells.book}
        for note in dict.fromkeys(note for deployment in self.all for note in deployment.notes):
            # A cell that runs again has another number, and the same note.
            identity = _CELL.sub(lambda label: keys.get(label[0], label[0]), note)
            if identity not in self._printed:
                self._printed.add(identity)
                print(note)


def _pids(deployment: Deployment, service: str) -> list[int]:
    found = deployment.status.services.get(service)
    return [worker.pid for worker in found.workers] if found is not None else []
