"""Keeps the record of a deployment up to date: `dynamo ps` reads it, and `dynamo clean` after a crash."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from dynamo_nb.control.options import Options
from dynamo_nb.control.processes import ProcessId
from dynamo_nb.control.record import Record


class Journal:
    """Writes the record of this supervisor's deployment whenever its processes or its owner change."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._pids: list[int] = []
        self.owner = options.owner
        self.started = time.time()

    def note_workers(self, pids: list[int]) -> None:
        """Notes the processes of the workers."""
        if pids != self._pids:
            self._pids = pids
            self.write()

    def note_detached(self) -> None:
        """Notes that the deployment has no owner any more."""
        self.owner = None
        self.write()

    def write(self) -> None:
        folder = Path(self._options.folder)
        processes = tuple(process for pid in self._pids if (process := _identify(pid)) is not None)
        owner = _identify(self.owner) if self.owner is not None else None
        Record(
            id=folder.name,
            name=self._options.name,
            folder=folder,
            supervisor=ProcessId.of(os.getpid()),
            owner=owner,
            owned_by=self._options.owned_by if owner is not None else "",
            started=self.started,
            processes=processes,
        ).write()


def _identify(pid: int) -> ProcessId | None:
    with contextlib.suppress(Exception):  # it may have ended
        return ProcessId.of(pid)
    return None
