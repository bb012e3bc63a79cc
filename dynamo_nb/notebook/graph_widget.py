"""The graph as a widget: the same drawing as everywhere, in which one can watch, try, scale and link services.

The kernel lays the graph out and decides; the page shows, and asks. What changes while a graph runs has traits of its
own, so that an update is a few bytes and the drawing does not jump.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, Final

import anywidget
import traitlets

from dynamo_nb.drawing.mimebundle import mimebundle, text
from dynamo_nb.drawing.outline import Outline
from dynamo_nb.drawing.picture import Picture
from dynamo_nb.observe.traffic import Load, Traffic

Card = Mapping[str, Any]
"""All that the page shows of one service; see `card`."""
Message = dict[str, Any]

_here = files(__package__).joinpath("widget")
_SCRIPTS: Final = sorted((f for f in _here.iterdir() if f.name.endswith(".js")), key=lambda f: f.name)
"""Modules of one scope: joined in any order they are the widget's module."""


class GraphView(anywidget.AnyWidget):  # type: ignore[misc]
    """A graph that is shown live; SVG and text stand in where no widget lives.

    svg, text: the drawing. deployment: the id of what is served, or "". states: service to {state, note, workers,
    gpus}. loads: {services, edges} to what passes through them now. selected: the service whose card is open, or "".
    card: what is shown of it.

    describe: gives the card of a service. ask: called with each message in which the page asks for something.
    """

    # The text rather than the path: a path makes anywidget start a thread that watches the file.
    _esm = "\n".join(script.read_text("utf-8") for script in _SCRIPTS)
    _css = (_here / "view.css").read_text("utf-8")

    svg = traitlets.Unicode().tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    deployment = traitlets.Unicode().tag(sync=True)
    states = traitlets.Dict().tag(sync=True)
    loads = traitlets.Dict().tag(sync=True)
    selected = traitlets.Unicode().tag(sync=True)
    card = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        picture: Picture,
        deployment: str = "",
        workers: Mapping[str, Mapping[str, str]] | None = None,
        *,
        describe: Callable[[str], Card] = lambda _: {},
        ask: Callable[[GraphView, Message], None] = lambda *_: None,
    ) -> None:
        self._picture, self._describe = picture, describe
        self._still = mimebundle(picture, live=True)
        super().__init__(svg=_svg(self._still), deployment=deployment, **_shown(picture, workers or {}))
        self.on_msg(lambda _, message, __: ask(self, message))
        self.observe(lambda _: self.refresh(), "selected")

    @property
    def picture(self) -> Picture:
        return self._picture

    @property
    def still(self) -> dict[str, str]:
        """The static forms of what is shown, laid out alike."""
        if not self._still:
            self._still = mimebundle(self._picture, live=True)
        return self._still

    def show(
        self, picture: Picture, deployment: str = "", workers: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        """Shows `picture` from now on. It is laid out again only if more than states and notes changed.

        workers: of each service that is served, `{"workers": "1/2", "gpus": "0,1"}`.
        """
        with self.hold_sync():
            before, self._picture, self.deployment = self._picture, picture, deployment
            if picture != before:
                self._still = {}
            if _frame(picture) != _frame(before):
                self.svg = _svg(self.still)
            if not deployment:
                self.loads = {}
            for trait, value in _shown(picture, workers or {}).items():
                self.set_trait(trait, value)
            if self.selected not in self.states:
                self.selected = ""
            self.refresh()

    def show_traffic(self, traffic: Traffic, workers: Mapping[str, list[str]]) -> None:
        """Shows what passes through the graph now. workers: the ids of each service's workers."""
        with self.hold_sync():
            self.loads = {"services": _services(traffic, workers), "edges": _edges(traffic)}
            self.refresh()

    def refresh(self) -> None:
        """Brings the open card up to date."""
        self.card = dict(self._describe(self.selected)) if self.selected else {}

    def widget(self) -> dict[str, Any]:
        """What stands for the widget in an output."""
        data, _ = super()._repr_mimebundle_() or ({}, {})
        return {**data}

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {**self.widget(), **self.still}, {}


def _svg(still: Mapping[str, str]) -> str:
    return still.get("image/svg+xml", "")


def _shown(picture: Picture, workers: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    nodes = Outline.of(picture).nodes
    return {
        "text": text(picture),
        "states": {n.name: {"state": n.state, "note": n.note, **workers.get(n.name, {})} for n in nodes},
    }


def _frame(picture: Picture) -> Picture:
    """All that the layout depends on: a state takes a line, whatever it is."""
    return picture.with_states({n.name: ("set" if n.state or n.note else "", "") for n in picture.nodes})


def _services(traffic: Traffic, workers: Mapping[str, list[str]]) -> dict[str, Any]:
    found = {}
    for service, ids in workers.items():
        load = traffic.services.get(service)
        memory = sum(traffic.memory.get(worker, 0) for worker in ids)
        gpu = [traffic.gpu_memory[worker] for worker in ids if worker in traffic.gpu_memory]
        if load is not None or memory:
            of_gpus = {"gpu_memory": sum(gpu)} if gpu else {}
            found[service] = {**_load(load or Load()), "memory": memory or None, **of_gpus}
    return found


def _edges(traffic: Traffic) -> dict[str, Any]:
    return {f"{source}->{target}": _load(load) for (source, target), load in traffic.edges.items()}


def _load(load: Load) -> dict[str, Any]:
    """Rounded to what can be read, so that what has hardly changed is not sent again."""
    return {
        "rate": _digits(load.rate),
        "p50": _digits(load.p50),
        "p99": _digits(load.p99),
        "in_flight": load.in_flight,
        "errors": _digits(load.errors),
        "failed": load.failed,
    }


def _digits(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.3g}")
