"""Keeps the record of a deployment up to date: `dynamo ps` reads it, and `dynamo clean` after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dynamo_nb.control.options import Options
from dynamo_nb.control.processes import ProcessId
from dynamo_nb.control.record import Record, lock
from dynamo_nb.errors import summary_of
from dynamo_nb.supervisor.tasks import RETRY_PAUSE


class Journal:
    """Writes the record of this supervisor's deployment whenever its processes or its owner change."""

    def __init__(self, options: Options) -> None:
        folder = Path(options.folder)
        self._lock = lock(folder)
        owner = _identify(options.owner) if options.owner is not None else None
        self._retry: asyncio.TimerHandle | None = None
        self._failing = False
        self._record = Record(
            id=folder.name,
            name=options.name,
            folder=folder,
            supervisor=ProcessId.of(os.getpid()),
            owner=owner,
            owned_by=options.owned_by if owner is not None else "",
            notebook=options.notebook,
            served_with=options.served_with,
            started=time.time(),
        )
        self.owner = options.owner
        self._client = _identify(options.client) if options.client is not None else None

    @property
    def started(self) -> float:
        return self._record.started

    @property
    def client(self) -> int | None:
        """The pid of the process that started the deployment; None after its end."""
        return self._client.pid if self._client is not None and self._client.alive else None

    def note(self, pids: Sequence[int], ports: Sequence[int], gpus: Sequence[str]) -> None:
        """Notes the processes of the workers, and the ports and GPUs that the deployment holds."""
        known = {process.pid: process for process in self._record.processes}
        processes = [known.get(pid) or _identify(pid) for pid in pids]
        found = tuple(process for process in processes if process is not None)
        self._change(processes=found, ports=tuple(ports), gpus=tuple(gpus))

    def note_detached(self) -> None:
        """Notes that the deployment has no owner any more."""
        self.owner = None
        self._change(owner=None, owned_by="")

    def note_stopping(self) -> None:
        """Notes that the deployment is being stopped."""
        self._change(stopping=True)

    def _change(self, **values: Any) -> None:
        record = replace(self._record, **values)
        if record != self._record:
            self._record = record
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
        self._record.write()


def _identify(pid: int) -> ProcessId | None:
    with contextlib.suppress(Exception):  # it may have ended
        return ProcessId.of(pid)
    return None
