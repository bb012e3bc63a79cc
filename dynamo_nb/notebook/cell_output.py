"""A place among the outputs of a cell whose content changes: as it was last, it stays in the saved notebook."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Place:
    """A Display under the cell that runs when it is first shown. It may be shown from any thread.

    running: gives the key of the cell that runs, "" between cells. What changes in the background is told in the name
    of the first cell, and some front ends listen to the running one only: they have it told `again` by the next cell.
    """

    def __init__(self, shell: Any, running: Callable[[], str]) -> None:
        self._shell, self._id, self._running = shell, uuid.uuid4().hex, running
        self._cell = ""
        self._missed = False
        self._shown: Mapping[str, str] | None = None
        self._closed = False

    @property
    def over(self) -> bool:
        """Whether nothing more is to be told."""
        return self._closed and not self._missed

    def show(self, bundle: Mapping[str, str], steps: Sequence[str] = ()) -> None:  # noqa: ARG002
        # A terminal cannot change what it has shown.
        if bundle != self._shown and hasattr(self._shell, "kernel"):
            self._publish(bundle)

    def close(self, bundle: Mapping[str, str]) -> None:
        if bundle["text/plain"] or self._shown is not None:
            self._publish(bundle)
        self._closed = True

    def again(self) -> None:
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
