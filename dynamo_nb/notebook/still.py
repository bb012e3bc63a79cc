"""A graph in its static forms, SVG and text, brought up to date in place: what a saved notebook shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from IPython.display import display

from dynamo_nb.graph.draw import mimebundle
from dynamo_nb.graph.picture import Picture


class Still:
    """Displays a picture as the output of the running cell; `show` changes that output later."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._handle = display(mimebundle(picture), raw=True, display_id=True)

    def show(self, picture: Picture, cards: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        if picture != self._picture and self._handle is not None:
            self._picture = picture
            self._handle.update(mimebundle(picture), raw=True)
