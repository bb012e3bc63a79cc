"""MIME bundles, the displays of drawings in a notebook."""

from __future__ import annotations

from base64 import b64encode
from html import escape

from dynamo_nb.drawing.picture import Picture
from dynamo_nb.drawing.svg import summary, svg
from dynamo_nb.drawing.svg_elements import printable
from dynamo_nb.drawing.text import text


def mimebundle(picture: Picture, *, live: bool = False) -> dict[str, str]:
    """Returns the picture by MIME type: SVG, an HTML image with a text alternative, and text for other front ends.

    It never raises, starts no process and does not use the network: a drawing must not stop a notebook.

    Args:
        picture: picture to draw.
        live: see `svg`. A live drawing has no HTML image, because the widget shows the drawing and it changes often.
    """
    bundle = {"text/plain": text(picture)}
    try:
        drawn = svg(picture, live=live)
    except Exception:
        return bundle
    return {**bundle, **({"image/svg+xml": drawn} if live else image(drawn, summary(picture)))}


def image(drawn: str, description: str) -> dict[str, str]:
    """Returns a drawing by MIME type.

    JupyterLab and nbconvert show an SVG output as an image without a text alternative. They prefer HTML to SVG.

    Args:
        drawn: The drawing, as an `<svg>` element.
        description: The text alternative.
    """
    source = f"data:image/svg+xml;base64,{b64encode(drawn.encode()).decode()}"
    html = f'<img alt="{escape(printable(description))}" src="{source}" style="max-width:100%">'
    return {"image/svg+xml": drawn, "text/html": html}
