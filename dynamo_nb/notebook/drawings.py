"""The graphs in the outputs of a notebook. They are kept up to date as cells run and as deployments change.

Any thread may update a graph, one at a time: while a cell blocks the kernel, states and traffic still change.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from IPython.display import DisplayHandle, display

from dynamo_nb.control.events import Event
from dynamo_nb.control.status import Status
from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.drawing.mimebundle import mimebundle
from dynamo_nb.drawing.picture import Picture
from dynamo_nb.errors import DynamoError
from dynamo_nb.graph.graph import Graph
from dynamo_nb.notebook.graph_widget import GraphWidget
from dynamo_nb.notebook.service_card import service_card
from dynamo_nb.notebook.traffic_feed import TrafficFeed
from dynamo_nb.notebook.variables import Variables
from dynamo_nb.notebook.viewers import Heartbeat, Viewers
from dynamo_nb.observe.traffic import Traffic
from dynamo_nb.sdk.portal import portal

WIDGET_DELAY: Final = 0.1
"""Seconds in which changes of a status are collected before widgets show them: a large start makes hundreds."""
STATIC_DELAY: Final = 1.0
"""Seconds until the static forms follow. They cost more, and are not seen while a widget is."""


@dataclass(eq=False)
class Drawing:
    """One graph in an output.

    Attributes:
        subject: The name of a service, whose graph is drawn, or a deployment.
        cell: The key of the cell whose output it is.
        widget: The live graph, where the front end shows widgets.
        embedded: True if the output refers to the widget. False if the widget finds the SVG of the output itself.
        handle: The output.
        static_forms: SVG and text, as the output has them.
        viewers: The browser pages that show the widget.
    """

    subject: str | Deployment
    cell: str
    widget: GraphWidget | None = None
    embedded: bool = False
    handle: DisplayHandle | None = None
    static_forms: dict[str, str] = field(default_factory=dict)
    viewers: Viewers = field(default_factory=Viewers)


class Drawings:
    """All graphs of one notebook.

    Args:
        variables: The variables of the notebook.
        deployments: Returns its deployments, oldest first.
        act: Called with the deployment of a graph (or None), the widget and a message that requests an action.
        busy: Returns True while a cell runs.
    """

    def __init__(
        self,
        variables: Variables,
        deployments: Callable[[], Sequence[Deployment]],
        act: Callable[[Deployment | None, GraphWidget, dict[str, Any]], None],
        busy: Callable[[], bool],
    ) -> None:
        self._variables, self._deployments, self._act, self._busy = variables, deployments, act, busy
        self._drawings: list[Drawing] = []
        self._lock = threading.RLock()
        self._traffic = TrafficFeed(self._watched_deployments, self._show_traffic)
        self._heartbeat = Heartbeat(self._shown_widgets)
        # Deployments with a delayed update. Only the portal's loop uses these.
        self._widgets_due: set[Deployment] = set()
        self._static_due: set[Deployment] = set()

    def show(self, subject: str | Deployment, *, cell: str, live: bool, embedded: bool = False) -> None:
        """Displays a graph in the output of the running cell.

        Args:
            subject: The name of a service, or a deployment.
            cell: The key of the running cell.
            live: True for a widget with the static forms, False for the static forms alone.
            embedded: True if the output must refer to the widget; see `Drawing`.

        Raises:
            TargetError: The notebook has no such service.
        """
        drawing = Drawing(subject, cell, embedded=embedded)
        if live:
            drawing.widget = self._widget(drawing)
        drawing.static_forms = self._static_forms(drawing)
        # With a display id, so that the output can be updated.
        drawing.handle = display(_bundle(drawing), raw=True, display_id=True)
        with self._lock:
            self._drawings.append(drawing)
        if live:
            portal.loop.call_soon_threadsafe(self._heartbeat.start)

    def forget(self, cell: str) -> None:
        """Ends the graphs in the output of a cell, which runs again."""
        with self._lock:
            gone = [drawing for drawing in self._drawings if drawing.cell == cell]
            self._drawings = [drawing for drawing in self._drawings if drawing.cell != cell]
        for drawing in gone:
            drawing.viewers.forget()
            if drawing.widget is not None:
                drawing.widget.close()

    def redraw(self, *, between_cells: bool = False) -> None:
        """Updates every graph.

        Args:
            between_cells: True if no cell is running. Static forms without a widget are then left as they are.
        """
        with self._lock:
            for drawing in self._drawings:
                with suppress(DynamoError):  # incomplete code: the graph stays as it is, and `serve` reports the error
                    self._redraw(drawing, between_cells=between_cells)

    def status_changed(self, deployment: Deployment) -> None:
        """Schedules an update of the graphs of a deployment. It must be called on the portal's loop."""
        if deployment not in self._widgets_due:
            self._widgets_due.add(deployment)
            asyncio.get_running_loop().call_later(WIDGET_DELAY, self._update_widgets, deployment)

    def _update_widgets(self, deployment: Deployment) -> None:
        self._widgets_due.discard(deployment)
        with self._lock:
            for drawing in self._drawings_of(deployment):
                if drawing.widget is not None:
                    self._show_state(drawing, drawing.widget)
        self._traffic.update()
        if deployment not in self._static_due:
            self._static_due.add(deployment)
            asyncio.get_running_loop().call_later(STATIC_DELAY, self._update_static_forms, deployment)

    def _update_static_forms(self, deployment: Deployment) -> None:
        self._static_due.discard(deployment)
        with self._lock:
            for drawing in self._drawings_of(deployment):
                # JupyterLab renders an output again when its forms change: a user of the widget would lose the focus.
                if not drawing.viewers.watching:
                    self._redraw(drawing, between_cells=True)

    def _drawings_of(self, deployment: Deployment) -> Iterator[Drawing]:
        return (drawing for drawing in self._drawings if self._deployment(drawing.subject) is deployment)

    # --- one graph -------------------------------------------------------------------------------------------------

    def _deployment(self, subject: str | Deployment) -> Deployment | None:
        """The deployment that serves a graph, or None. After a reconnection, the connected object."""
        if isinstance(subject, Deployment):
            if subject.connected or subject.ended:
                return subject
            again = (d for d in reversed(self._deployments()) if d.id == subject.id and d.connected)
            return next(again, subject)
        return next((d for d in reversed(self._deployments()) if d.spec.entry == subject and not d.ended), None)

    def _graph(self, subject: str | Deployment) -> Graph:
        deployment = self._deployment(subject)
        if deployment is not None:
            return deployment.graph
        assert isinstance(subject, str)
        return Graph.of(self._variables.service(subject), self._variables.namespace)

    def _state(self, subject: str | Deployment) -> tuple[Picture, str, dict[str, dict[str, str]], Sequence[Event]]:
        """The content of a widget: the picture, the id of the deployment, the workers of each service, the events."""
        deployment = self._deployment(subject)
        if deployment is None:
            return self._graph(subject).picture(), "", {}, ()
        status = deployment.status
        workers = {name: _readiness(status, name) for name in status.services or status.rollout}
        return deployment.picture, "" if deployment.ended else deployment.id, workers, deployment.events

    def _show_state(self, drawing: Drawing, widget: GraphWidget) -> None:
        deployment, lost = self._deployment(drawing.subject), ""
        if isinstance(drawing.subject, Deployment) and deployment is not None:
            drawing.subject = deployment  # this notebook has connected again
        widget.show(*self._state(drawing.subject))
        if deployment is not None and not deployment.connected and not deployment.ended:
            lost = f"This notebook has closed its connection. To connect again: `%dynamo attach {deployment.id}`"
        detached = deployment is not None and not deployment.ended and not deployment.owned
        widget.show_connection(detached=detached, lost=lost)

    def _static_forms(self, drawing: Drawing) -> dict[str, str]:
        subject, widget = drawing.subject, drawing.widget
        forms = mimebundle(self._state(subject)[0]) if widget is None else widget.static_forms
        return {**forms, "text/plain": repr(subject)} if isinstance(subject, Deployment) else forms

    def _widget(self, drawing: Drawing) -> GraphWidget:
        def card_of(service: str) -> dict[str, Any]:
            with suppress(DynamoError):
                deployment = self._deployment(drawing.subject)
                graph, feed = self._graph(drawing.subject), self._traffic
                if deployment is None:
                    return service_card(service, graph, None, Traffic())
                routes, requests = feed.routes(deployment, service), feed.requests(deployment, service)
                errors = feed.errors(deployment, service)
                return service_card(service, graph, deployment, feed.latest(deployment), routes, requests, errors)
            return {}

        def receive(widget: GraphWidget, message: dict[str, Any]) -> None:
            if message.get("do") == "watch":
                self._watch(drawing, str(message.get("page", "")), visible=bool(message.get("visible")))
            elif message.get("do") == "access":
                if (deployment := self._deployment(drawing.subject)) is not None:
                    shown = bool(message.get("on"))
                    portal.loop.call_soon_threadsafe(partial(self._traffic.show_requests, deployment, shown=shown))
            else:
                self._act(self._deployment(drawing.subject), widget, message)

        widget = GraphWidget(*self._state(drawing.subject), card_of=card_of, receive=receive)
        self._show_state(drawing, widget)
        return widget

    def _redraw(self, drawing: Drawing, *, between_cells: bool) -> None:
        if drawing.widget is not None:
            self._show_state(drawing, drawing.widget)
        elif between_cells or self._has_stopped(drawing.subject):
            # nbclient processes outputs of running cells only. A saved page shows what ran, not that it has stopped.
            return
        forms = self._static_forms(drawing)
        if forms != drawing.static_forms and drawing.handle is not None:
            drawing.static_forms = forms
            drawing.handle.update(_bundle(drawing), raw=True)

    def _has_stopped(self, subject: str | Deployment) -> bool:
        """True for a deployment that has ended, or is about to: none of its services takes requests."""
        if not isinstance(subject, Deployment):
            return False
        states = {service.state for service in subject.status.services.values()}
        return subject.ended or states <= {"draining", "stopped", ""}

    # --- traffic ---------------------------------------------------------------------------------------------------

    def _watch(self, drawing: Drawing, page: str, *, visible: bool) -> None:
        """Called by a browser page when a graph becomes visible or invisible, and regularly in between."""
        drawing.viewers.report(page, visible=visible)
        if not drawing.viewers.watching:  # the static forms were not updated while it was watched
            with self._lock, suppress(DynamoError):
                self._redraw(drawing, between_cells=True)
        portal.loop.call_soon_threadsafe(self._traffic.update)
        portal.loop.call_soon_threadsafe(self._heartbeat.start)

    def _shown_widgets(self) -> list[GraphWidget]:
        """The widgets in open pages. It does not take the lock, because the layout of a large graph holds it long."""
        found = []
        for drawing in list(self._drawings):
            if self._busy():
                drawing.viewers.renew()
            if drawing.widget is not None and drawing.viewers.present:
                found.append(drawing.widget)
        return found

    def _watched_deployments(self) -> set[Deployment]:
        with self._lock:
            found = (self._deployment(drawing.subject) for drawing in self._drawings if drawing.viewers.watching)
            return {deployment for deployment in found if deployment is not None and not deployment.ended}

    def _show_traffic(self, deployment: Deployment, traffic: Traffic) -> None:
        services = deployment.status.services
        workers = {name: [w.id for w in service.workers] for name, service in services.items()}
        restarts = {name: service.restarts for name, service in services.items()}
        with self._lock:
            for drawing in self._drawings_of(deployment):
                if drawing.widget is not None and drawing.viewers.watching:
                    drawing.widget.show_traffic(traffic, workers, restarts)


def _bundle(drawing: Drawing) -> dict[str, Any]:
    """The output of a graph.

    JupyterLab shows an error in place of a saved output that refers to a widget, and ignores its static forms. So in
    JupyterLab the output has only the static forms, and the widget replaces them in the page. VS Code falls back to the
    static forms, and loads widgets only for outputs that refer to a widget.
    """
    widget = drawing.widget.view_bundle() if drawing.widget is not None and drawing.embedded else {}
    return {**widget, **drawing.static_forms}


def _readiness(status: Status, name: str) -> dict[str, str]:
    service = status.services.get(name)
    if service is not None and not service.started:
        return {}
    ready, desired = status.readiness_of(name)
    return {"workers": f"{ready}/{desired}", "gpus": ",".join(service.gpus) if service is not None else ""}
