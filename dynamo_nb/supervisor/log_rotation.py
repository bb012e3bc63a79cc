"""Rotates the logs of a deployment: each has two files at most, the current one and its older part.

A log is copied and truncated rather than renamed: the processes below a worker hold the same open file, and append to
it for as long as they live.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Final

from dynamo_nb.control.logs import older_part

MAX_SIZE: Final = 50 * 2**20
"""Bytes from which a log is rotated: some hours of a worker that prints a line for every request."""
PAUSE: Final = 2.0
"""Seconds between two checks of the sizes."""


async def keep_small(folder: Path) -> None:
    """Rotates the logs in a folder when they have grown too large, until cancelled."""
    while True:
        await asyncio.sleep(PAUSE)
        for log in folder.glob("*.log"):
            try:
                if log.stat().st_size > MAX_SIZE:
                    rotate(log)  # not in a thread, which would still write when the folder is removed
            except OSError as error:  # such as a full disk; the next check tries again
                print(f"{log.name} cannot be rotated: {error.strerror}", flush=True)


def rotate(log: Path) -> None:
    """Moves the text of a log to its older part. Lines that are written during the last step may be lost."""
    new = log.with_name(log.name + ".new")
    with log.open("rb") as source, new.open("wb") as target:
        shutil.copyfileobj(source, target, 2**20)
        new.rename(older_part(log))  # before the log is truncated, so that its readers find the rest there
        shutil.copyfileobj(source, target)
        target.flush()
        os.truncate(log, 0)
