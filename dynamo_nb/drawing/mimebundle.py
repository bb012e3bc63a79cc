"""The display of a graph in a notebook: a MIME bundle."""

from __future__ import annotations

from dynamo_nb.drawing.picture import Picture
from dynamo_nb.drawing.svg import svg
from dynamo_nb.drawing.text import text


def mimebundle(picture: Picture, *, live: bool = False) -> dict[str, str]:
    """Returns the picture by MIME type: SVG, and text for front ends without SVG.

    It never raises, starts no process and does not use the network: a drawing must not stop a notebook.

    Args:
        picture: picture to draw.
        live: see `svg`.
    """
    bundle = {"text/plain": text(picture)}
    try:
        bundle["image/svg+xml"] = svg(picture, live=live)
    except Exception:
        return bundle
    return bundle
