"""Starting a deployment, or connecting to a running one, and the notebook in which this happens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from dynamo_nb.control import state_dir
from dynamo_nb.control.record import Record, left_running
from dynamo_nb.control.start_supervisor import start_supervisor
from dynamo_nb.deployment.deployment import Deployment, NotebookDisplay
from dynamo_nb.deployment.notebook_name import NOTEBOOK
from dynamo_nb.deployment.plan import Plan
from dynamo_nb.deployment.plan_source import NotebookCells, PlanSource
from dynamo_nb.deployment.restored_source import restored_source
from dynamo_nb.deployment.same_notebook import is_of_this_notebook, left_by_another_name
from dynamo_nb.deployment.serve_options import ServeOptions
from dynamo_nb.deployment.supervisor_connection import SupervisorConnection
from dynamo_nb.errors import DynamoError
from dynamo_nb.observe.display import Display, Nowhere
from dynamo_nb.program import CellsSource, variable_of


class Registry(Protocol):
    """The deployments of a notebook."""

    @property
    def title(self) -> str:
        """The name of the notebook in messages, such as `notebook hello.ipynb`."""

    @property
    def deployments(self) -> Sequence[Deployment]:
        """The deployments that were started or attached here, oldest first."""

    @property
    def path(self) -> str:
        """The notebook, see `Record.notebook`."""

    def starting(self, deployment: Deployment) -> AbstractContextManager[None]:
        """Returns a context that shows the states of a deployment while its first workers start.

        Args:
            deployment: The deployment.
        """

    def started(self, deployment: Deployment) -> None:
        """Adds a deployment that the running cell started. It follows the cells from now on."""

    def attached(self, deployment: Deployment) -> None:
        """Adds a deployment that was attached. It follows the cells from now on."""

    def found(self, deployment: Deployment) -> None:
        """Adds a deployment that an earlier kernel of this notebook left running. The running cell updates it."""

    def not_found(self, record: Record, reason: str) -> None:
        """Reports that a deployment from an earlier kernel cannot be used, with the reason."""

    def earlier(self, entry: str) -> Deployment | None:
        """Returns the deployment of an entry that was attached, or started by an earlier run of the running cell."""

    def updated(self, deployment: Deployment, changes: str) -> None:
        """Notes that the running cell has updated an earlier deployment. changes: as `plan_changes` returns them."""

    def display(self) -> Display:
        """Returns a new display under the running cell."""


class Notebook(NotebookCells, NotebookDisplay, Registry, Protocol):
    """A notebook, as `start` and `connect` use it: its cells, its page and its deployments."""


def notebook_of(names: Mapping[str, Any]) -> Notebook | None:
    """Returns the notebook with these global names; None without the extension, as in a script."""
    return names.get(NOTEBOOK)


async def start(
    source: PlanSource,
    options: ServeOptions,
    *,
    notebook: Notebook | None = None,
    title: str = "script",
    display: Callable[[], Display] = Nowhere,
) -> Deployment:
    """Starts a deployment. Everything that can be checked is checked before the first process starts.

    If the running cell of a notebook has started a deployment before, this deployment is changed instead. So is a
    detached deployment that an earlier kernel of the notebook left running.

    Args:
        source: Source of its plans.
        options: Options of the deployment.
        notebook: The notebook that serves.
        title: Name of this process in messages, if it is not a notebook.
        display: Returns a new display for progress, if this process is not a notebook.

    Raises:
        DynamoError: As for `serve`.
    """
    resolved = options.resolve()
    served_with = options.digest()
    plan = source.plan()
    if notebook is not None:
        title, display = notebook.title, notebook.display
        earlier = notebook.earlier(plan.spec.entry) or await _left_running(notebook, plan)
        if earlier is not None:
            if earlier.served_with in {None, served_with}:
                notebook.updated(earlier, await earlier.follower.switch(source, plan))
                return earlier
            await earlier.stop()
    supervisor_options = replace(
        resolved,
        folder=str(state_dir.new_folder(plan.spec.name)),
        name=plan.spec.name,
        owner=None if options.detach else os.getpid(),
        client=os.getpid(),
        owned_by=title,
        notebook="" if notebook is None else notebook.path,
        served_with=served_with,
        http=any(service.http for service in plan.spec.started.values()),
        shared=bool(source.only),
    )
    await start_supervisor(supervisor_options)
    connection = SupervisorConnection(
        Path(supervisor_options.folder), title="" if notebook is None else title, display=display
    )
    try:
        await connection.open()
        connection.begin(plan)
        deployment = Deployment(connection, source, notebook)
        deployment.served_with = served_with
        with nullcontext() if notebook is None else notebook.starting(deployment):
            # The first call needs the client of NATS: it is imported while the workers start.
            await asyncio.gather(connection.apply(plan), asyncio.to_thread(import_module, "nats.aio.client"))
    except BaseException:
        await asyncio.shield(connection.stop())
        raise
    if notebook is not None:
        notebook.started(deployment)
    return deployment


async def connect(record: Record, notebook: Notebook | None = None) -> Deployment:
    """Connects to a running deployment.

    Args:
        record: The deployment.
        notebook: The notebook that attaches. If it is connected to the deployment, the existing object is returned.

    Raises:
        ConnectError: The supervisor does not answer.
        DynamoError: The plan cannot be restored.
    """
    for known in notebook.deployments if notebook is not None else ():
        if known.id == record.id and known.connected:
            return known
    deployment = await _connected(record, notebook)
    if notebook is not None:
        notebook.attached(deployment)
    return deployment


async def _left_running(notebook: Notebook, plan: Plan) -> Deployment | None:
    """The deployment of this entry that an earlier kernel of this notebook left running, or None."""
    known = [deployment.id for deployment in notebook.deployments]
    for record in [*left_running(known, notebook.path), *left_by_another_name(notebook.path, known)]:
        try:
            deployment = await _connected(record, notebook)
        except DynamoError as error:
            notebook.not_found(record, error.what)
            continue
        source, cells = deployment.program_source, notebook.cells()
        if deployment.spec.entry == plan.spec.entry and is_of_this_notebook(record, notebook.path, source, cells):
            notebook.found(deployment)
            return deployment
        await deployment.disconnect()
    return None


async def _connected(record: Record, notebook: Notebook | None) -> Deployment:
    title, display = ("", Nowhere) if notebook is None else (notebook.title, notebook.display)
    connection = SupervisorConnection(record.folder, title=title, display=display)
    try:
        await connection.open()
        snapshot = await connection.restore()
    except BaseException:
        await connection.close()
        raise
    deployment = Deployment(connection, restored_source(snapshot, connection.plan, notebook), notebook)
    deployment.served_with = record.served_with or None
    if isinstance(snapshot.source, CellsSource):
        deployment.served_as = variable_of(snapshot.source.cells, snapshot.source.entry)
    return deployment
