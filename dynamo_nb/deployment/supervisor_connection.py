"""The connection of this process to the supervisor of one deployment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from dynamo_nb.control.client import ControlClient
from dynamo_nb.control.events import MOST_EVENTS, Event, ServiceError
from dynamo_nb.control.processes import ProcessId
from dynamo_nb.control.release import Release
from dynamo_nb.control.state_dir import CONTROL
from dynamo_nb.control.status import ClientStatus, Status
from dynamo_nb.deployment.plan import Plan
from dynamo_nb.deployment.plan_changes import changed_services
from dynamo_nb.deployment.snapshot import Snapshot, release_of
from dynamo_nb.errors import ConnectError, DeploymentError, DynamoError
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.observe.display import Display, Nowhere
from dynamo_nb.observe.progress import ProgressReport
from dynamo_nb.runtime.connection_settings import ConnectionSettings
from dynamo_nb.sdk.portal import portal

_ENDINGS: set[asyncio.Task[None]] = set()
"""Tasks that wait for the end of a supervisor. An event loop holds its tasks weakly only."""


def old_version(services: Collection[str] = ()) -> str:
    """Returns the note on the error of a failed change.

    Args:
        services: The services of the change; empty if they are not known.
    """
    return f"The old version{' of ' * bool(services)}{', '.join(services)} still serves."


class SupervisorConnection:
    """Requests to a supervisor, and what it has reported. It lives on the portal's loop; any thread may read it.

    Attributes:
        folder: State directory of the deployment.
        status: The last status that the supervisor reported.
        applied: The GraphSpec that this process applied last; after attaching, the one that was served.
        access: Settings to connect to NATS and the workers.
        display: Returns a new display, for the progress of changes.
        events: The events of the deployment, oldest first.
        on_status: Called after each status, and after each event.
        on_plan: Called with each plan that is served from then on.
        on_end: Awaited when the supervisor has ended.
    """

    def __init__(self, folder: Path, *, title: str = "", display: Callable[[], Display] = Nowhere) -> None:
        """title: how this process is shown to other clients, such as a notebook's name."""
        self.folder = folder
        self.status = Status(id=folder.name, folder=str(folder))
        self.applied: GraphSpec | None = None
        self.access = ConnectionSettings()
        self.display = display
        self.events: list[Event] = []
        self.on_status: list[Callable[[], None]] = []
        self.on_plan: list[Callable[[Plan], None]] = []
        self.on_end: list[Callable[[], Awaitable[None]]] = []
        self._title = title
        self._plan: Plan | None = None
        self._release = ""  # id of the release that `_plan` belongs to
        self._applying: dict[str, Plan] = {}
        self._restoring: asyncio.Task[None] | None = None
        self._control: ControlClient | None = None
        self._process = portal.process
        self._supervisor: ProcessId | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """Id of the deployment."""
        return self.folder.name

    @property
    def connected(self) -> bool:
        """True if requests can be sent."""
        return self._control is not None and not self._control.closed

    @property
    def plan(self) -> Plan:
        """The plan that is served."""
        assert self._plan is not None, "nothing was applied or restored yet"
        return self._plan

    @plan.setter
    def plan(self, plan: Plan) -> None:
        self._plan = plan
        for notify in self.on_plan:
            notify(plan)

    def begin(self, plan: Plan) -> None:
        """Sets the first plan before it is applied, so that it is shown while its workers start.

        Args:
            plan: The plan.
        """
        self._plan = plan

    # --- requests --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connects. Raises ConnectError if the supervisor does not answer."""
        self._control = await ControlClient.connect(self.folder / CONTROL, self._report, self._happened)
        self._report(await self._control.watch(ClientStatus.here(self._title)))
        with suppress(DeploymentError):  # a supervisor of an earlier version
            self._happened(*await self._control.events())
        self.access = ConnectionSettings(**await self._control.request("access"))
        with suppress(psutil.NoSuchProcess):
            self._supervisor = ProcessId.of(self.status.pid)
        self._ending = asyncio.create_task(self._wait_for_end())
        _ENDINGS.add(self._ending)
        self._ending.add_done_callback(_ENDINGS.discard)

    async def request(self, verb: str, **args: Any) -> Any:
        """Returns the answer to a request. Raises the error that the supervisor answers with."""
        return await self._connected().request(verb, **args)

    async def change(self, verb: str, **args: Any) -> None:
        """Requests a change that may take as long as models take to load, and shows its progress."""
        async with ProgressReport(lambda: self.status, self.folder / "logs", self.display):
            self._report(await self._connected().change(verb, **args))

    async def errors(self, service: str = "") -> list[ServiceError]:
        """Returns the last errors of services. Raises the errors of `request`.

        Args:
            service: Name of the service; "" for all services.
        """
        return await self._connected().errors(service)

    async def apply(self, plan: Plan) -> None:
        """Has the supervisor serve a plan. Raises StartError or PlacementError; the old plan is then served."""
        try:
            release = release_of(plan, self.folder)
            self._applying[release.id] = plan
            await self.change("apply", release=release.as_data())
        except DynamoError as error:
            if self.applied is not None:
                error.add_note(old_version(changed_services(self.plan, plan)))
            raise

    async def restore(self) -> Snapshot:
        """Restores the plan that is served, which another process has applied, and returns its snapshot."""
        release = Release.from_data(await self.request("release"))
        snapshot = Snapshot.from_data(release.snapshot)
        self._set_plan(snapshot.plan(self.folder, release.spec), release.id)
        if self.applied is None:
            self.applied = release.spec
        return snapshot

    async def detach(self) -> None:
        """Makes the deployment independent of its owner."""
        self._report(await self._connected().change("detach"))

    async def stop(self) -> None:
        """Stops the deployment, and returns when no process of it is left. Also if `open` has failed."""
        if self._control is None:
            with suppress(ConnectError):
                self._control = await ControlClient.connect(self.folder / CONTROL)
        if self._control is not None and not self._control.closed:
            with suppress(ConnectError):  # it may be ending already
                await self._control.request("stop")
            await self._control.wait_closed()
        if self._ending is not None:
            await self._ending
        if self._supervisor is not None:
            await self._supervisor.ended()

    async def close(self) -> None:
        """Closes the connection. The deployment keeps running."""
        if self._ending is not None:
            self._ending.cancel()
        if self._control is not None:
            await self._control.close()

    def check_process(self) -> None:
        """Raises DynamoError in a process that was forked since the deployment was opened."""
        portal.check_process(self._process, f"the deployment {self.id}")

    def _connected(self) -> ControlClient:
        self.check_process()
        if self._control is None or self._control.closed:
            raise self.stopped_error()
        return self._control

    def stopped_error(self) -> DeploymentError:
        """Returns the error for a request to a deployment that has stopped."""
        return DeploymentError(f"the deployment {self.id} has stopped", remedy="serve the graph again")

    # --- reports ---------------------------------------------------------------------------------------------------

    def _report(self, status: Status) -> None:
        self.status = status
        if (plan := self._applying.get(status.release)) is not None:
            # Set here, and not in `apply`: its caller may have been interrupted before the answer.
            self.applied = plan.spec
            self._set_plan(plan, status.release)
        elif status.release != self._release and self._plan is not None and not status.ended:
            self._restoring = asyncio.ensure_future(self._restore_again())
        for notify in list(self.on_status):
            notify()

    def _happened(self, *events: Event) -> None:
        """Adds events. Events from before the connection may arrive after later events."""
        known = {event.number: event for event in (*self.events, *events)}
        self.events = sorted(known.values(), key=lambda event: event.number)[-MOST_EVENTS:]
        for notify in list(self.on_status):
            notify()

    def _set_plan(self, plan: Plan, release: str) -> None:
        self._release, self._applying = release, {}
        self.plan = plan

    async def _restore_again(self) -> None:
        with suppress(DynamoError):  # the deployment may have stopped meanwhile
            await self.restore()
            self._report(self.status)

    async def _wait_for_end(self) -> None:
        assert self._control is not None
        await self._control.wait_closed()
        await self._control.close()
        number = self.events[-1].number + 1 if self.events else 1
        self._happened(Event(number=number, at=time.time(), kind="stopped", text="the supervisor has ended"))
        self._report(self.status.stopped())
        for notify in self.on_end:
            await notify()
