"""What a crash leaves of deployments: folders, and processes that nobody supervises any more."""

from __future__ import annotations

from dynamo_nb.deploy.forkserver import kill_group
from dynamo_nb.deploy.home import Record, abandoned, records, remove
from dynamo_nb.deploy.orphans import kill_descendants


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
    killed = []
    for process in record.processes:
        if process.alive:
            kill_descendants(process.pid)
            kill_group(process.pid)
            killed.append(f"process {process.pid}")
    return killed
