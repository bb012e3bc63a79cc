"""What a crash leaves of deployments: folders, and processes that nobody supervises any more."""

from __future__ import annotations

import time
from typing import Final

from dynamo_nb.control.state_dir import Record, abandoned, records, remove
from dynamo_nb.control.subreaper import kill_descendants
from dynamo_nb.supervisor.forkserver import kill_group

LAST_BREATH: Final = 5.0  # seconds for killed processes to end; one that holds a device may take longer
LOOK: Final = 0.02  # seconds between looks whether they have


def clear_remains() -> list[str]:
    """Ends and removes what is left of deployments whose supervisor is gone; a line for each says what that was."""
    lines = []
    for record in records():
        if not record.alive:
            killed = _kill(record)
            remove(record.folder)
            what = f"killed {', '.join(killed)} and " if killed else ""
            lines.append(f"{what}removed {record.id}")
    for folder in abandoned():
        remove(folder)
        lines.append(f"removed {folder.name}, which had not begun to serve")
    return lines


def _kill(record: Record) -> list[str]:
    killed = [process for process in record.processes if process.alive]
    for process in killed:
        kill_descendants(process.pid)
        kill_group(process.pid)
    # A signal is delivered when the process next runs: until then it holds its memory and its ports.
    end = time.monotonic() + LAST_BREATH
    while time.monotonic() < end and any(process.alive for process in killed):
        time.sleep(LOOK)
    return [f"process {process.pid}" for process in killed]
