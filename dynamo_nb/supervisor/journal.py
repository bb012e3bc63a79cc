"""Keeps the record of a deployment up to date: `dynamo ps` reads it, and `dynamo clean` after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

from dynamo_nb.control.options import Options
from dynamo_nb.control.processes import ProcessId
from dynamo_nb.control.record import Record
from dynamo_nb.errors import summary_of
from dynamo_nb.supervisor.tasks import RETRY_PAUSE


class Journal:
    """Writes the record of this supervisor's deployment whenever its processes or its owner change."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._pids: list[int] = []
        self._retry: asyncio.TimerHandle | None = None
        self._failing = False
        self.owner = options.owner
        self.started = time.time()

    def note_workers(self, pids: list[int]) -> None:
        """Notes the processes of the workers."""
        if pids != self._pids:
            self._pids = pids
            self._update()

    def note_detached(self) -> None:
        """Notes that the deployment has no owner any more."""
        self.owner = None
        self._update()

    def _update(self) -> None:
        """Writes the record, now or when it can be written: on a full disk the deployment goes on with the old one."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        try:
            self.write()
        except OSError as error:
            if not self._failing:
                print(f"the record of the deployment cannot be written: {summary_of(error)}", flush=True)
            self._retry = asyncio.get_running_loop().call_later(RETRY_PAUSE, self._update)
        self._failing = self._retry is not None

    def write(self) -> None:
        """Writes the record. Raises OSError."""
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
