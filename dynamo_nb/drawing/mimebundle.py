"""Drawings of a graph: DOT, SVG and text."""

from __future__ import annotations

from dynamo_nb.drawing.dot import dot
from dynamo_nb.drawing.picture import Picture
from dynamo_nb.drawing.svg import svg
from dynamo_nb.drawing.text import text

__all__ = ["dot", "mimebundle", "svg", "text"]


def mimebundle(picture: Picture, *, live: bool = False) -> dict[str, str]:
    """What a notebook shows: SVG, and text where no SVG is shown. live: as in `svg`.

    Never raises, starts no process, and asks no network: a drawing must not be what stops a notebook.
    """
    bundle = {"text/plain": text(picture)}
    try:
        bundle["image/svg+xml"] = svg(picture, live=live)
    except Exception:  # a picture on which Graphviz fails, say
        return bundle
    return bundle
