"""Cleans up after crashes: folders of deployments without a supervisor, and the processes that they left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dynamo_nb.control import state_dir
from dynamo_nb.control.processes import kill_group
from dynamo_nb.control.record import FILE, Record, is_locked, records
from dynamo_nb.control.starters import is_starting
from dynamo_nb.control.subreaper import kill_descendants

END_LIMIT: Final = 5.0
"""Seconds to wait for killed processes to end; one that holds a device may take longer."""
_POLL: Final = 0.02
"""Seconds between two checks whether they have ended."""


def clean_up() -> list[str]:
    """Kills and removes what is left of deployments whose supervisor is gone.

    Returns:
        A line for each deployment: what was removed.
    """
    lines = []
    for record in records():
        if not record.alive:
            killed = _kill(record)
            state_dir.remove(record.folder)
            prefix = f"killed {', '.join(killed)} and " if killed else ""
            lines.append(f"{prefix}removed {record.id}")
    for folder in _abandoned():
        state_dir.remove(folder)
        lines.append(f"removed {folder.name}, which never started to serve")
    return lines


def _abandoned() -> Iterator[Path]:
    """Folders of deployments that ended before they wrote a record."""
    for folder in state_dir.root().iterdir():
        # In this order: a supervisor that starts may write its record meanwhile.
        if (
            (folder / "sockets").is_dir()
            and not is_starting(folder)
            and not is_locked(folder)
            and not (folder / FILE).exists()
        ):
            yield folder


def _kill(record: Record) -> list[str]:
    killed = [process for process in record.processes if process.alive]
    for process in killed:
        kill_descendants(process.pid)
        kill_group(process.pid)
    # A signal is delivered when the process next runs: until then it holds its memory and its ports.
    end = time.monotonic() + END_LIMIT
    while time.monotonic() < end and any(process.alive for process in killed):
        time.sleep(_POLL)
    return [f"process {process.pid}" for process in killed]
