"""The live graph: the drawing of a graph as a widget in which a user watches, calls, scales and links services.

The kernel lays out the graph and runs all actions. The browser shows the state and sends requests. States and traffic
have traits of their own, so an update is small and does not move the drawing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import anywidget
import traitlets

from dynamo_nb.control.events import Event
from dynamo_nb.drawing.mimebundle import mimebundle
from dynamo_nb.drawing.outline import Outline
from dynamo_nb.drawing.picture import Picture
from dynamo_nb.drawing.text import text
from dynamo_nb.observe.traffic import Load, Traffic

Card = Mapping[str, Any]
"""The content of a service's card; see `service_card`."""
Message = dict[str, Any]
MOST_EVENTS: Final = 50
LONGEST_DETAIL: Final = 1000
"""Number of events, and length of the end of their details in characters. Every change sends all of them."""
Workers = Mapping[str, Mapping[str, str]]
"""Service to `{"workers": "1/2", "gpus": "0,1"}`: ready and desired workers, ids of GPUs. Only of served services."""

SVG: Final = "image/svg+xml"

_FOLDER: Final = files(__package__).joinpath("widget")


class GraphWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """A graph that is shown live. Its output also has SVG and text, for programs that show no widgets.

    Args:
        picture: The graph to show.
        deployment: The id of the deployment; "" if the graph is not served.
        workers: The workers of each service that is served.
        card_of: Returns the content of the card of a service.
        receive: Called with the widget and each message from the browser.

    Attributes:
        svg: The drawing.
        text: The drawing as text.
        deployment: The id of the deployment, or "".
        states: Service to `state`, `note`, and, if it is served, `workers` and `gpus`.
        loads: `services` and `edges`, each by name, with the traffic now.
        selected: The service whose card is open, or "".
        card: The content of that card.
        detached: True if the deployment continues after the end of this kernel.
        lost: A message, with a remedy, if the deployment cannot be reached; else "".
        output_id: An id in the static SVG. The browser replaces each SVG with this id by the live graph.
        events: The last events of the deployment, oldest first: `number`, `at`, `text`, `bad` and `detail`.
    """

    # The text and not the path: for a path, anywidget starts a thread that watches the file.
    _esm = (_FOLDER / "built" / "widget.js").read_text("utf-8")  # written by `make widget`
    _css = "".join((_FOLDER / name).read_text("utf-8") for name in ("graph_view.css", "log_view.css"))

    svg = traitlets.Unicode().tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    deployment = traitlets.Unicode().tag(sync=True)
    states = traitlets.Dict().tag(sync=True)
    loads = traitlets.Dict().tag(sync=True)
    selected = traitlets.Unicode().tag(sync=True)
    card = traitlets.Dict().tag(sync=True)
    detached = traitlets.Bool().tag(sync=True)
    lost = traitlets.Unicode().tag(sync=True)
    output_id = traitlets.Unicode().tag(sync=True)
    events = traitlets.List().tag(sync=True)

    def __init__(
        self,
        picture: Picture,
        deployment: str = "",
        workers: Workers | None = None,
        events: Sequence[Event] = (),
        *,
        card_of: Callable[[str], Card] = lambda _: {},
        receive: Callable[[GraphWidget, Message], None] = lambda *_: None,
    ) -> None:
        self._picture, self._card_of = picture, card_of
        self._static_forms = mimebundle(picture, live=True)
        state = _state(picture, workers or {}, events)
        super().__init__(svg=_svg(self._static_forms), deployment=deployment, output_id=uuid.uuid4().hex, **state)
        self.on_msg(lambda _, message, __: receive(self, message))
        self.observe(lambda _: self.update_card(), "selected")

    @property
    def picture(self) -> Picture:
        """The graph that is shown."""
        return self._picture

    @property
    def static_forms(self) -> dict[str, str]:
        """SVG and text of the graph, with the same layout. The SVG contains `output_id`."""
        forms = self._plain_forms()
        marked = f'<svg data-dynamo-output="{self.output_id}" '
        return {kind: form.replace("<svg ", marked, 1) if kind == SVG else form for kind, form in forms.items()}

    def _plain_forms(self) -> dict[str, str]:
        if not self._static_forms:
            self._static_forms = mimebundle(self._picture, live=True)
        return self._static_forms

    def show(
        self, picture: Picture, deployment: str = "", workers: Workers | None = None, events: Sequence[Event] = ()
    ) -> None:
        """Shows another state. The graph is laid out again only if more than states and notes has changed.

        Args:
            picture: The graph to show.
            deployment: The id of the deployment; "" if the graph is not served.
            workers: The workers of each service that is served.
            events: The events of the deployment.
        """
        with self.hold_sync():
            before, self._picture, self.deployment = self._picture, picture, deployment
            if picture != before:
                self._static_forms = {}
            if _shape(picture) != _shape(before):
                self.svg = _svg(self._plain_forms())
            if not deployment:
                self.loads = {}
            for trait, value in _state(picture, workers or {}, events).items():
                self.set_trait(trait, value)
            if self.selected not in self.states:
                self.selected = ""
            self.update_card()

    def show_traffic(
        self, traffic: Traffic, workers: Mapping[str, list[str]], restarts: Mapping[str, int] | None = None
    ) -> None:
        """Shows the traffic now.

        Args:
            traffic: Measured traffic.
            workers: Service to the ids of its workers.
            restarts: Service to the number of restarts.
        """
        with self.hold_sync():
            self.loads = {"services": _services(traffic, workers, restarts or {}), "edges": _edges(traffic)}
            self.update_card()

    def show_connection(self, *, detached: bool, lost: str) -> None:
        """Shows the state of the connection to the deployment.

        Args:
            detached: True if the deployment continues after the end of this kernel.
            lost: A message, with a remedy, if the deployment cannot be reached; else "".
        """
        with self.hold_sync():
            self.detached, self.lost = detached, lost

    def beat(self) -> None:
        """Sends a heartbeat. A page without heartbeats shows that it is disconnected."""
        self.send({"alive": True})

    def update_card(self) -> None:
        """Updates the content of the open card."""
        self.card = dict(self._card_of(self.selected)) if self.selected else {}

    def view_bundle(self) -> dict[str, Any]:
        """Returns the MIME bundle that refers to the widget, without the static forms."""
        data, _ = super()._repr_mimebundle_() or ({}, {})
        return {**data}

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {**self.view_bundle(), **self.static_forms}, {}


def _svg(forms: Mapping[str, str]) -> str:
    return forms.get(SVG, "")


def _state(picture: Picture, workers: Workers, events: Sequence[Event]) -> dict[str, Any]:
    nodes = Outline.of(picture).nodes
    return {
        "text": text(picture),
        "states": {n.name: {"state": n.state, "note": n.note, **workers.get(n.name, {})} for n in nodes},
        "events": [
            {
                "number": event.number,
                "at": event.at,
                "text": event.text,
                "bad": event.bad,
                "detail": event.detail[-LONGEST_DETAIL:],
            }
            for event in events[-MOST_EVENTS:]
        ],
    }


def _shape(picture: Picture) -> Picture:
    """The part of a picture that the layout depends on: a state takes one line, with any text."""
    return picture.with_states({n.name: ("set" if n.state or n.note else "", "") for n in picture.nodes})


def _services(traffic: Traffic, workers: Mapping[str, list[str]], restarts: Mapping[str, int]) -> dict[str, Any]:
    found = {}
    for service, ids in workers.items():
        load = traffic.services.get(service)
        memory = sum(traffic.memory.get(worker, 0) for worker in ids)
        on_gpus = [traffic.gpu_memory[worker] for worker in ids if worker in traffic.gpu_memory]
        if load is not None or memory:
            gpu_memory = {"gpu_memory": sum(on_gpus)} if on_gpus else {}
            cpu = [traffic.cpu[worker] for worker in ids if worker in traffic.cpu]
            more = {"cpu": round(sum(cpu))} if cpu else {}
            if restarts.get(service):
                more["restarts"] = restarts[service]
            found[service] = {**figures_of(load or Load()), "memory": memory or None, **gpu_memory, **more}
    return found


def _edges(traffic: Traffic) -> dict[str, Any]:
    return {f"{source}->{target}": figures_of(load) for (source, target), load in traffic.edges.items()}


def figures_of(load: Load) -> dict[str, Any]:
    """Returns the figures of a load, rounded as for display, so that small changes are not sent.

    Args:
        load: The load.
    """
    return {
        "rate": _rounded(load.rate),
        "p50": _rounded(load.p50),
        "p99": _rounded(load.p99),
        "in_flight": load.in_flight,
        "errors": _rounded(load.errors),
        "failed": load.failed,
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.3g}")
