"""The processes that start a deployment: a file in its folder, until the record of the deployment is there."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

import psutil

from dynamo_nb.control.processes import ProcessId

_FILE: Final = "starters.json"


def note_starters(folder: Path, *pids: int) -> None:
    """Notes the processes that start the deployment of a folder, in place of those noted before.

    Args:
        folder: Folder of the deployment.
        pids: The process that serves, and its supervisor once it was started. An ended process is left out.
    """
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            found.append(asdict(ProcessId.of(pid)))
    new = folder / f"{_FILE}.new"
    new.write_text(json.dumps(found))
    new.rename(folder / _FILE)


def is_starting(folder: Path) -> bool:
    """Returns True if one of the processes that start the deployment of a folder runs.

    Args:
        folder: Folder of the deployment.
    """
    try:
        noted = [ProcessId(**one) for one in json.loads((folder / _FILE).read_text())]
    except (OSError, ValueError, TypeError):
        return False
    return any(process.alive for process in noted)
