"""Keeps the logs of a deployment small: each is two files at most, the current one and the one before it.

A log is copied and emptied rather than renamed: whatever a worker has started holds the same open file, and appends to
it for as long as it lives.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

LARGEST = 50 * 2**20
"""Bytes from which a log is rotated: some hours of a worker that prints a line for every request."""
LOOK = 2.0
"""Seconds between two looks at the sizes."""


def older(log: Path) -> Path:
    """Where the part of a log stands that was rotated last."""
    return log.with_name(log.name + ".1")


async def keep_small(folder: Path) -> None:
    """Rotates the logs in a folder whenever they have grown too large; until it is cancelled."""
    while True:
        await asyncio.sleep(LOOK)
        for log in folder.glob("*.log"):
            try:
                if log.stat().st_size > LARGEST:
                    rotate(log)  # not in a thread, which would still write when the folder is to go
            except OSError as error:  # such as a full disk: it is tried again
                print(f"{log.name} cannot be rotated: {error.strerror}", flush=True)


def rotate(log: Path) -> None:
    """Makes what the log holds its older part. Lines that are written in the instant of the last step may be lost."""
    new = log.with_name(log.name + ".new")
    with log.open("rb") as source, new.open("wb") as target:
        shutil.copyfileobj(source, target, 2**20)
        new.rename(older(log))  # before it is emptied: whoever follows it then finds the rest there
        shutil.copyfileobj(source, target)
        target.flush()
        os.truncate(log, 0)
