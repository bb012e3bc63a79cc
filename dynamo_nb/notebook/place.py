"""A place among the outputs of a cell whose content changes: as it was last, it stays in the saved notebook."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Place:
    """A Display under the cell that runs when it is first shown. It may be shown from any thread.

    Front ends that take changes of outputs from running cells only have the last state told `again` by the next cell.
    """

    def __init__(self, shell: Any, between_cells: Callable[[], bool]) -> None:
        self._shell, self._id, self._between_cells = shell, uuid.uuid4().hex, between_cells
        self._missed = False
        self._shown: Mapping[str, str] | None = None
        self.closed = False

    def show(self, bundle: Mapping[str, str], steps: Sequence[str] = ()) -> None:  # noqa: ARG002
        # A terminal cannot change what it has shown.
        if bundle != self._shown and hasattr(self._shell, "kernel"):
            self._publish(bundle)

    def close(self, bundle: Mapping[str, str]) -> None:
        self.closed = True
        if bundle["text/plain"] or self._shown is not None:
            self._publish(bundle)

    def again(self) -> None:
        if self._missed and self._shown is not None:
            self._publish(self._shown)
            self._missed = False

    def _publish(self, bundle: Mapping[str, str]) -> None:
        update, self._shown, self._missed = self._shown is not None, bundle, self._between_cells()
        transient = {"display_id": self._id}
        self._shell.display_pub.publish(dict(bundle), metadata={}, transient=transient, update=update)
