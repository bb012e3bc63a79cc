"""The graph as a widget: the same drawing as everywhere, in which one can look around and watch states change.

The kernel lays the graph out; the page only shows it. What changes while a graph runs (states, cards) are traits of
their own, so that an update is a few bytes and the drawing does not jump.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import anywidget
import traitlets

from dynamo_nb.graph.draw import mimebundle, text
from dynamo_nb.graph.outline import Outline
from dynamo_nb.graph.picture import Node, Picture

Card = Mapping[str, Any]
"""Rows about a service: label to a text, a number, a list, or a mapping that becomes rows of its own."""

_here = files(__package__)


class GraphView(anywidget.AnyWidget):  # type: ignore[misc]
    """A graph that is shown live; SVG and text stand in where no widget lives.

    svg, text: the drawing. states: service to {state, note} and further rows that change often. cards: service to its
    Card. selected: the service whose card is open, or "".
    """

    # The text rather than the path: a path makes anywidget start a thread that watches the file.
    _esm = (_here / "view.js").read_text("utf-8")
    _css = (_here / "view.css").read_text("utf-8")

    svg = traitlets.Unicode().tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    states = traitlets.Dict().tag(sync=True)
    cards = traitlets.Dict().tag(sync=True)
    selected = traitlets.Unicode().tag(sync=True)

    def __init__(self, picture: Picture, cards: Mapping[str, Card] | None = None) -> None:
        self._picture = picture
        super().__init__(svg=_svg(picture), **_shown(picture, cards))

    def show(self, picture: Picture, cards: Mapping[str, Card] | None = None) -> None:
        """Shows `picture` from now on. It is laid out again only if more than states and notes changed.

        cards: rows to show of each service besides those that the picture has.
        """
        with self.hold_sync():
            if _frame(picture) != _frame(self._picture):
                self.svg = _svg(picture)
            self._picture = picture
            for trait, value in _shown(picture, cards).items():
                self.set_trait(trait, value)
            if self.selected not in self.cards:
                self.selected = ""

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {**data, **mimebundle(self._picture)}, metadata


def _svg(picture: Picture) -> str:
    return mimebundle(picture).get("image/svg+xml", "")


def _shown(picture: Picture, cards: Mapping[str, Card] | None) -> dict[str, Any]:
    nodes = Outline.of(picture).nodes
    return {
        "text": text(picture),
        "states": {n.name: {"state": n.state, "note": n.note} for n in nodes},
        "cards": {n.name: {**_card(n), **(cards or {}).get(n.name, {})} for n in nodes},
    }


def _frame(picture: Picture) -> Picture:
    """All that the layout depends on: a state takes a line, whatever it is."""
    return picture.with_states({n.name: ("set" if n.state or n.note else "", "") for n in picture.nodes})


def _card(node: Node) -> dict[str, Any]:
    if node.interface:
        return {"interface": "nothing linked fills it"}
    rows: dict[str, Any] = {"namespace": node.namespace, "workers": "in-process" if node.local else node.workers}
    rows |= {name: value for name, value in node.resources.items() if value}
    if node.endpoints:
        rows["endpoints"] = list(node.endpoints)
    if not node.running:
        rows["started"] = "no: no active path reaches it"
    return rows
