"""An output of a cell that changes. Its last state stays in the saved notebook."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class CellOutput:
    """A `Display` in the output of the cell that runs when it is first shown. Any thread may use it.

    A change is sent in the name of that first cell. Some front ends process messages of the running cell only, so a
    change that was sent at another time is sent again by `repeat` while the next cell runs.

    Args:
        shell: The IPython shell.
        running: Returns the key of the running cell, "" between cells.
    """

    def __init__(self, shell: Any, running: Callable[[], str]) -> None:
        self._shell, self._id, self._running = shell, uuid.uuid4().hex, running
        self._cell = ""
        self._missed = False
        self._shown: Mapping[str, str] | None = None
        self._closed = False

    @property
    def finished(self) -> bool:
        """True if nothing more will be sent."""
        return self._closed and not self._missed

    def show(self, bundle: Mapping[str, str], steps: Sequence[str] = ()) -> None:  # noqa: ARG002
        # A terminal cannot change what it has shown.
        if bundle != self._shown and hasattr(self._shell, "kernel"):
            self._publish(bundle)

    def close(self, bundle: Mapping[str, str]) -> None:
        if bundle["text/plain"] or self._shown is not None:
            self._publish(bundle)
        self._closed = True

    def repeat(self) -> None:
        """Sends the last change again if it was sent while another cell, or no cell, was running."""
        if self._missed and self._shown is not None:
            self._publish(self._shown)
            self._missed = False

    def _publish(self, bundle: Mapping[str, str]) -> None:
        update, running = self._shown is not None, self._running()
        if not update:
            self._cell = running
        self._shown, self._missed = bundle, not running or running != self._cell
        transient = {"display_id": self._id}
        self._shell.display_pub.publish(dict(bundle), metadata={}, transient=transient, update=update)
