"""Rotates the logs of a deployment: each has two files at most, the current one and its older part.

A log is copied and truncated rather than renamed: the processes below a worker hold the same open file, and append to
it for as long as they live.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from dynamo_nb.control.log_writer import MOST_BYTES
from dynamo_nb.control.logs import older_part

MAX_SIZE: Final = MOST_BYTES // 2
"""Bytes from which a log is rotated: some hours of a worker that prints a line for every request."""
PAUSE: Final = 0.2
"""Seconds between two checks of the sizes; processes below a worker can write some hundred megabytes in this time."""
KEPT_BYTES: Final = 64 * 2**10
"""Bytes at the end of a log that are kept when a copy of it has no space."""


async def keep_small(folder: Path) -> None:
    """Rotates the logs of the deployment with this folder when they have grown too large, until cancelled."""
    while True:
        await asyncio.sleep(PAUSE)
        for log in [*folder.glob("logs/*.log"), *folder.glob("nats/*.log")]:
            with suppress(OSError):  # such as a log that was removed meanwhile; the next check tries again
                if log.stat().st_size > MAX_SIZE:
                    rotate(log)  # not in a thread, which would still write when the folder is removed


def rotate(log: Path) -> None:
    """Moves the text of a log to its older part. Lines that are written during the last step may be lost.

    Of a log that has grown too fast, MOST_BYTES are kept. The older part begins with a hole then: its readers know the
    position in the log. Without space for a copy the older part is deleted, and only the end of the log is kept: that
    needs no space.
    """
    new = log.with_name(log.name + ".new")
    size = log.stat().st_size
    try:
        if shutil.disk_usage(log.parent).free < 2 * min(size, MOST_BYTES):  # the copy must not fill the disk either
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with log.open("rb") as source, new.open("wb") as target:
            _copy(source, target, max(size - MOST_BYTES, 0), size)
            new.rename(older_part(log))  # before the log is truncated, so that its readers find the rest there
            with suppress(OSError):
                size = log.stat().st_size  # a burst may go on: it is not followed to its end
                _copy(source, target, max(size - MOST_BYTES, source.tell()), size)
            os.truncate(log, 0)
    except OSError as error:
        new.unlink(missing_ok=True)
        _shorten(log)
        print(f"{log.name} was shortened, because it cannot be rotated: {error.strerror}", flush=True)


def _copy(source: BinaryIO, target: BinaryIO, start: int, end: int) -> None:
    source.seek(start)
    target.seek(start)
    while block := source.read(min(2**20, end - source.tell())):
        target.write(block)
    target.flush()


def _shorten(log: Path) -> None:
    with log.open("rb") as source:
        source.seek(max(log.stat().st_size - KEPT_BYTES, 0))
        end = source.read(KEPT_BYTES)
    os.truncate(log, 0)
    older_part(log).unlink(missing_ok=True)
    with suppress(OSError):
        older_part(log).write_bytes(end.partition(b"\n")[2])
