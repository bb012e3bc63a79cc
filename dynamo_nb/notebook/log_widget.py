"""Logs as a widget. New lines are added at the end. The browser filters them."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from html import escape
from importlib.resources import files
from typing import Any, Final

import anywidget
import traitlets

from dynamo_nb.control.log_lines import LogLine
from dynamo_nb.observe.log_reader import LogText, html_of, rows_of

KEPT: Final = 1000
"""Number of last lines that a newly opened page receives, and that remain in the output at the end."""
_FOLDER: Final = files(__package__).joinpath("widget")


class LogWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """The logs of a deployment.

    Args:
        title: Title, with the deployment and the filter.
        nothing: Message in place of an empty log.
        access: True to show the requests over HTTP.
        stop: Called when the user stops following.
        set_access: Called when the user turns the access log on or off.

    Attributes:
        title: Title, with the deployment and the filter.
        nothing: Message in place of an empty log.
        access: True if the requests over HTTP are shown.
        ended: Reason of the end of the log, or "".
        output_id: An id in the static HTML. The browser replaces HTML with this id by the live log.
    """

    _esm = (_FOLDER / "built" / "log_widget.js").read_text("utf-8")  # written by `make widget`
    _css = (_FOLDER / "log_view.css").read_text("utf-8")

    title = traitlets.Unicode().tag(sync=True)
    nothing = traitlets.Unicode().tag(sync=True)
    access = traitlets.Bool().tag(sync=True)
    ended = traitlets.Unicode().tag(sync=True)
    output_id = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        title: str,
        nothing: str,
        *,
        access: bool,
        stop: Callable[[], None],
        set_access: Callable[[bool], None],
    ) -> None:
        self._lines: deque[LogLine] = deque(maxlen=KEPT)
        self._count = 0
        self._on_stop, self._on_access = stop, set_access
        super().__init__(title=title, nothing=nothing, access=access, output_id=uuid.uuid4().hex)
        self.on_msg(lambda _, message, __: self._received(message))

    def _received(self, message: dict[str, Any]) -> None:
        match message.get("do"):
            case "stop":
                self._on_stop()
            case "access":
                self.access = bool(message.get("on"))
                self._on_access(self.access)
            case "all":  # a page was opened
                self._send_rows(list(self._lines))

    def add(self, lines: Sequence[LogLine]) -> None:
        """Adds lines at the end. Any thread may call it.

        Args:
            lines: The lines.
        """
        self._lines.extend(lines)
        self._count += len(lines)
        self._send_rows(lines)

    def _send_rows(self, lines: Sequence[LogLine]) -> None:
        rows = list(rows_of(lines))[-KEPT:]
        with suppress(Exception):  # the browser, or the comm, is gone
            self.send({"first": self._count - len(rows), "rows": rows})

    @property
    def static_forms(self) -> dict[str, str]:
        """The lines so far as HTML and text."""
        lines = list(self._lines)
        if not lines:
            return {"text/plain": self.nothing}
        return {"text/html": html_of(lines), "text/plain": LogText(times=True).text(lines)}

    def live_bundle(self, *, embedded: bool) -> dict[str, Any]:
        """Returns the output of a log that is followed.

        Args:
            embedded: True if the output must refer to the widget. Otherwise the widget replaces the HTML in the page,
                because JupyterLab shows an error in place of a saved output that refers to a widget.
        """
        if embedded:
            data, _ = super()._repr_mimebundle_() or ({}, {})
            return {**data, **self.static_forms}
        static = f'<pre class="dynamo-output-{self.output_id}">{escape(self.nothing)}</pre>'
        return {**self.static_forms, "text/html": static}
