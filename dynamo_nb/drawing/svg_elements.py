"""Elements of SVG as text, and the colours that drawings and plots share.

A drawing is in a page by itself (JupyterLab and GitHub make it an image) or inline (nbconvert, the graph widget), light
or dark. So colours are attributes first, for renderers without CSS, and a style sheet changes them in dark pages. No
font is measured, so a drawing has the same bytes on every machine.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from html import escape

INK, QUIET, LINE, BLUE = "#1f2328", "#59636e", "#768390", "#0969da"
"""Colours of text, of text that matters less, of lines, and of accents. LINE can be read on white and on black."""
GREEN, AMBER, PURPLE, RED, GREY = "#1a7f37", "#9a6700", "#8250df", "#cf222e", "#6e7781"
"""Colours that can be read on white."""

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def document(
    content: Iterable[str],
    *,
    css_class: str,
    title: str,
    description: str,
    style: str,
    view_box: tuple[float, float, float, float],
) -> str:
    """Returns one `<svg>` element, a line for each element of its content.

    Args:
        content: the elements, as `element` returns them.
        css_class: class of the root, to which the style sheet refers.
        title: shown when the pointer is over the drawing.
        description: read by screen readers.
        style: a style sheet.
        view_box: left, top, width and height, in pixels.
    """
    root = element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        class_=css_class,
        role="img",
        aria_label=description,
        width=view_box[2],
        height=view_box[3],
        viewBox=" ".join(map(number, view_box)),
        font_family="Helvetica, Arial, sans-serif",
        style="max-width:100%;height:auto",
    )
    opening = root.removesuffix("/>") + ">"
    return "\n".join([opening, element("title", escaped(title)), element("style", style), *content, "</svg>"])


def element(tag: str, content: str = "", /, **attributes: str | float) -> str:
    """Returns an element.

    Args:
        tag: its name.
        content: its content, as XML.
        attributes: `_` in a name stands for `-`, and `class_` for `class`. Text is escaped, numbers are rounded.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value) if isinstance(value, str) else number(value)}"'
        for name, value in attributes.items()
    )
    return f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"


def escaped(text: str) -> str:
    """Returns the text as XML."""
    return text if text.isalnum() else escape(printable(text))


def printable(text: str) -> str:
    """Returns the text with a replacement for each character that neither XML nor DOT can hold."""
    return _UNPRINTABLE.sub("\ufffd", text)


def number(value: float) -> str:
    """Returns a coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def point(at: tuple[float, float]) -> str:
    """Returns a point of a path."""
    return f"{number(at[0])},{number(at[1])}"


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Returns about the greatest width of the text in a sans-serif font of this size, in pixels."""
    return sum(_advance(character) for character in text) * size


def _advance(character: str) -> float:
    if character in "iljtfrI.,:;|!'()[] -·":
        return 0.38
    if character in "mwMW@%_\N{MULTIPLICATION SIGN}":
        return 0.9
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    return 0.72 if character.isupper() else 0.6
