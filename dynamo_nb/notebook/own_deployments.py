"""The deployments of one notebook: which of them are running, and how they follow the cells."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from dynamo_nb.errors import ContractError, DynamoError

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
        self._printed: set[str] = set()

    def add(self, deployment: Deployment) -> None:
        """Adds a deployment that was started by the running cell, or attached."""
        self.all.append(deployment)
        if deployment.served_with is not None:
            self._mark(deployment)
        deployment.listeners.append(self._on_status)
        for warning in deployment.warnings:
            print(warning)
        if not deployment.owned:
            id_ = deployment.id
            print(f"{id_} is detached; `%dynamo attach {id_}` connects to it again")

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

        A deployment that cannot be updated does not stop the others. A change that is held back is no error: the next
        cell may complete it, and "Run All" must get there.

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
