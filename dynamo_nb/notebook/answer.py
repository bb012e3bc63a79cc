"""Answers to requests from a graph widget in the browser."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, Final

from dynamo_nb.notebook.graph_widget import GraphWidget

GATHER: Final = 0.05
"""Seconds in which items of a stream are joined into one message: a browser is slower than a worker."""
MAX_CHARACTERS: Final = 20_000
"""Of one value, or of one message with items; the rest is left out."""


class Answer:
    """The messages that answer one request. Any thread may use it, except for `item`, which needs an event loop.

    The browser receives `{"id": …}` with one of `code`, `item`, `error`, or `done` with `value` and `seconds`. With
    `error` and `done` it may receive a `picture` (SVG).

    Args:
        widget: The widget that sent the request.
        request_id: The id of the request in that widget.
    """

    def __init__(self, widget: GraphWidget, request_id: int) -> None:
        self._widget, self.request_id = widget, request_id
        self._began = time.monotonic()
        self._items: list[str] = []
        self._picture: dict[str, str] = {}

    def code(self, line: str) -> None:
        """Sends the line of code that does the same as the request."""
        self._send(code=line)

    def item(self, value: Any) -> None:
        """Sends one item of a stream."""
        if not self._items:
            asyncio.get_running_loop().call_later(GATHER, self._flush)
        self._items.append(as_text(value))

    def draw(self, svg: str) -> None:
        """Adds a picture to the result or the error.

        Args:
            svg: The picture.
        """
        self._picture = {"picture": svg}

    def done(self, value: Any) -> None:
        """Sends the result; None if there is none."""
        self._flush()
        text = None if value is None else as_text(value)
        self._send(done=True, value=text, seconds=time.monotonic() - self._began, **self._picture)

    def failed(self, error: str) -> None:
        """Sends an error."""
        self._flush()
        self._send(error=error, **self._picture)

    def _flush(self) -> None:
        items, self._items = self._items, []
        if items:
            self._send(item=_shortened("\n".join(items)))

    def _send(self, **content: Any) -> None:
        with suppress(Exception):  # the browser, or the comm, is gone
            self._widget.send({"id": self.request_id, **content})


def as_text(value: Any) -> str:
    """Returns strings as they are, models and plain data as JSON."""
    if isinstance(value, str):
        return _shortened(value)
    from pydantic_core import to_json

    return _shortened(to_json(value, indent=2, fallback=repr).decode())


def _shortened(text: str) -> str:
    left_out = len(text) - MAX_CHARACTERS
    return text if left_out <= 0 else f"{text[:MAX_CHARACTERS]}\n… {left_out:,} more characters"
