"""The drawings on a notebook's page, kept up to date: as cells run, and as what they show runs.

A drawing changes on whichever thread hears of it first, one change at a time: while a cell blocks the kernel, states
and traffic still move.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from IPython.display import DisplayHandle, display

from dynamo_nb.control.status import ServiceStatus
from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.drawing.mimebundle import mimebundle
from dynamo_nb.errors import DynamoError
from dynamo_nb.graph.graph import Graph
from dynamo_nb.notebook.card import card_of
from dynamo_nb.notebook.graph_widget import GraphView
from dynamo_nb.observe.top import Top, follow
from dynamo_nb.observe.traffic import Traffic, TrafficWindow
from dynamo_nb.sdk.portal import portal

if TYPE_CHECKING:
    from dynamo_nb.notebook.session import Session

SETTLE: Final = 0.1
"""Seconds in which changes of a deployment's states are gathered: a start of many workers makes hundreds."""
REST: Final = 1.0
"""Seconds after such a change in which the static forms follow, which cost more and nobody looks at while a view is."""
LOOK: Final = 0.5
"""Seconds between two readings of what passes through a deployment that somebody watches."""


@dataclass(eq=False)
class Drawing:
    """One graph on the page. of: a service's name, or a deployment. cell: the key of the cell that shows it.

    view: where front ends show widgets. handle, still: the output, and the static forms that it has.
    watched_by: the places in browsers where the view can be seen now.
    """

    of: str | Deployment
    cell: str
    view: GraphView | None = None
    handle: DisplayHandle | None = None
    still: dict[str, str] = field(default_factory=dict)
    watched_by: set[str] = field(default_factory=set)


class Page:
    """The only owner of a session's drawings."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._drawings: list[Drawing] = []
        self._lock = threading.RLock()
        self._settling: set[Deployment] = set()
        self._resting: set[Deployment] = set()
        self._kept: dict[str, list[Future[None]]] = {}
        self._feeds: dict[Deployment, asyncio.Task[None]] = {}
        self._traffic: dict[Deployment, Traffic] = {}

    def show(self, of: str | Deployment, *, cell: str, live: bool) -> None:
        """Displays a drawing as output of the running cell: a widget if live, its static forms in any case."""
        drawing = Drawing(of, cell)
        if live:
            drawing.view = self._view(drawing)
        drawing.still = self._still(drawing)
        # The forms may change as long as the page is open, and a widget is what a front end shows of them.
        drawing.handle = display(self._bundle(drawing), raw=True, display_id=True)
        with self._lock:
            self._drawings.append(drawing)

    def show_top(self, control: Path, *, cell: str, live: bool) -> None:
        """Displays a table of what a deployment does. live: it follows for as long as the output stands."""
        tables = follow(control)

        async def first() -> Top:
            return await anext(tables)

        handle = display(portal.run(first()), display_id=True)

        async def go_on() -> None:
            async for table in tables:
                handle.update(table)

        if live and handle is not None:
            self.keep(cell, asyncio.run_coroutine_threadsafe(go_on(), portal.loop))
        else:
            portal.run(tables.aclose())

    def keep(self, cell: str, work: Future[None]) -> None:
        """Ends the work when the cell whose output it changes runs again."""
        self._kept.setdefault(cell, []).append(work)

    def forget(self, cell: str | None = None) -> None:
        """Ends the drawings of a cell that runs again, or all of them."""
        with self._lock:
            gone = [drawing for drawing in self._drawings if cell in {None, drawing.cell}]
            self._drawings = [drawing for drawing in self._drawings if drawing not in gone]
        for drawing in gone:
            drawing.watched_by.clear()
            if drawing.view is not None:
                drawing.view.close()
        for key in [key for key in self._kept if cell in {None, key}]:
            for work in self._kept.pop(key):
                work.cancel()

    def redraw(self, *, between_cells: bool = False) -> None:
        """Brings every drawing up to date. Those at rest change only while a cell runs, where no widget lives."""
        with self._lock:
            for drawing in self._drawings:
                with suppress(DynamoError):  # half written: it stays as it was, and serving it says what is wrong
                    self._redraw(drawing, between_cells=between_cells)

    def heard(self, deployment: Deployment) -> None:
        """The deployment's state has changed. On the portal's loop."""
        if deployment not in self._settling:
            self._settling.add(deployment)
            asyncio.get_running_loop().call_later(SETTLE, self._settled, deployment)

    def _settled(self, deployment: Deployment) -> None:
        self._settling.discard(deployment)
        with self._lock:
            for drawing in self._drawings:
                if drawing.view is not None and self._deployment(drawing.of) is deployment:
                    drawing.view.show(*self._now(drawing.of))
        self._feed()
        if deployment not in self._resting:
            self._resting.add(deployment)
            asyncio.get_running_loop().call_later(REST, self._rested, deployment)

    def _rested(self, deployment: Deployment) -> None:
        self._resting.discard(deployment)
        with self._lock:
            for drawing in self._drawings:
                # JupyterLab renders an output anew whose forms change: who works in it would lose the focus.
                if not drawing.watched_by and self._deployment(drawing.of) is deployment:
                    self._redraw(drawing, between_cells=True)

    # --- one drawing ---------------------------------------------------------------------------------------------

    def _deployment(self, of: str | Deployment) -> Deployment | None:
        """What runs of a drawing's graph; None where nothing does."""
        if isinstance(of, Deployment):
            return of
        return next((d for d in reversed(self._session.deployments) if d.spec.entry == of and not d.ended), None)

    def _graph(self, of: str | Deployment) -> Graph:
        deployment = self._deployment(of)
        if deployment is not None:
            return deployment.graph
        assert isinstance(of, str)
        return Graph.of(self._session.service(of), self._session.shell.user_ns)

    def _now(self, of: str | Deployment) -> tuple[Any, str, dict[str, dict[str, str]]]:
        """What a view shows: the picture, the id of what is served, and the workers of each service."""
        deployment = self._deployment(of)
        if deployment is None:
            return self._graph(of).picture(), "", {}
        workers = {name: _readiness(service) for name, service in deployment.status.services.items()}
        return deployment.picture, "" if deployment.ended else deployment.id, workers

    def _still(self, drawing: Drawing) -> dict[str, str]:
        forms = mimebundle(self._now(drawing.of)[0]) if drawing.view is None else drawing.view.still
        return {**forms, "text/plain": repr(drawing.of)} if isinstance(drawing.of, Deployment) else forms

    def _view(self, drawing: Drawing) -> GraphView:
        def describe(name: str) -> dict[str, Any]:
            deployment = self._deployment(drawing.of)
            with suppress(DynamoError):
                traffic = self._traffic.get(deployment) if deployment is not None else None
                return card_of(name, self._graph(drawing.of), deployment, traffic or Traffic())
            return {}

        def ask(view: GraphView, message: dict[str, Any]) -> None:
            if message.get("do") == "watch":
                self._watch(drawing, str(message.get("place", "")), seen=bool(message.get("seen")))
            else:
                self._session.actions.begin(self._deployment(drawing.of), view, message)

        return GraphView(*self._now(drawing.of), describe=describe, ask=ask)

    def _bundle(self, drawing: Drawing) -> dict[str, Any]:
        return drawing.still if drawing.view is None else {**drawing.view.widget(), **drawing.still}

    def _redraw(self, drawing: Drawing, *, between_cells: bool) -> None:
        if drawing.view is not None:
            drawing.view.show(*self._now(drawing.of))
        if drawing.view is None and (between_cells or self._over(drawing.of)):
            return  # nbclient hears of outputs from running cells only; a saved page tells what ran, not that it ended
        still = self._still(drawing)
        if still != drawing.still and drawing.handle is not None:
            drawing.still = still
            drawing.handle.update(self._bundle(drawing), raw=True)

    def _over(self, of: str | Deployment) -> bool:
        """Whether what a drawing shows is a deployment that has ended, or of which nothing serves any more."""
        if not isinstance(of, Deployment):
            return False
        states = {service.state for service in of.status.services.values()}
        return of.ended or states <= {"draining", "stopped", ""}

    # --- traffic -------------------------------------------------------------------------------------------------

    def _watch(self, drawing: Drawing, place: str, *, seen: bool) -> None:
        """Somebody sees the drawing, or sees it no more, in one place of a browser."""
        (drawing.watched_by.add if seen else drawing.watched_by.discard)(place)
        if not drawing.watched_by:  # what it showed meanwhile
            with self._lock, suppress(DynamoError):
                self._redraw(drawing, between_cells=True)
        portal.loop.call_soon_threadsafe(self._feed)

    def _feed(self) -> None:
        """Begins to gather the traffic of what is watched. On the portal's loop."""
        for deployment in self._watched():
            if deployment not in self._feeds:
                self._feeds[deployment] = asyncio.create_task(self._gather(deployment))

    def _watched(self) -> set[Deployment]:
        with self._lock:
            found = (self._deployment(drawing.of) for drawing in self._drawings if drawing.watched_by)
            return {deployment for deployment in found if deployment is not None and not deployment.ended}

    async def _gather(self, deployment: Deployment) -> None:
        window = TrafficWindow()
        try:
            while deployment in self._watched():
                traffic = self._traffic[deployment] = window.add(await deployment.metrics())
                services = deployment.status.services
                workers = {name: [worker.id for worker in service.workers] for name, service in services.items()}
                with self._lock:
                    for drawing in self._of(deployment):
                        drawing.show_traffic(traffic, workers)
                await asyncio.sleep(LOOK)
        except DynamoError:
            pass  # it has stopped
        finally:
            del self._feeds[deployment]
            self._traffic.pop(deployment, None)

    def _of(self, deployment: Deployment) -> Iterable[GraphView]:
        for drawing in self._drawings:
            if drawing.view is not None and drawing.watched_by and self._deployment(drawing.of) is deployment:
                yield drawing.view


def _readiness(service: ServiceStatus) -> dict[str, str]:
    return {"workers": service.readiness, "gpus": ",".join(service.gpus)} if service.started else {}
