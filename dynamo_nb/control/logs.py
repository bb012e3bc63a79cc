"""What workers printed: one file for each worker, read from where one left off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from dynamo_nb.source.tracebacks import with_cell_names
from dynamo_nb.supervisor.log_rotation import older

_BLOCK: Final = 64 * 1024
"""Bytes that are read at once from the end of a log backwards."""


class LogTail:
    """Follows the logs in a folder. service: one service's only. lines: begin this many lines before the end of each
    that is there at first.

    Without a service the supervisor's own log is among them: it says which workers it lost and started again.
    `read` gives the lines that came since the last time, each with the name of its worker before it. The files stay
    open, so that the last lines of a deployment can be read after its folder has gone.
    """

    PAUSE: Final = 0.1
    """Seconds between two looks; files do not tell when they grow."""

    def __init__(self, folder: Path, service: str | None = None, lines: int | None = None) -> None:
        self._folder, self._lines = folder, lines
        self._names = "*.log" if service is None else f"{service}.*.log"
        self._logs: dict[Path, _Log] = {}

    @property
    def latest(self) -> dict[str, str]:
        """Worker to what it printed last, as far as was read: also a line that has not ended, such as a bar."""
        return {path.stem: log.latest for path, log in self._logs.items()}

    def read(self) -> Iterator[str]:
        with suppress(FileNotFoundError):  # the folder goes when the deployment ends
            for path in set(self._folder.glob(self._names)) - set(self._logs):
                self._logs[path] = _Log(path, self._lines)
            self._lines = None  # a log that comes later is that of a new worker, and is news from its first line on
        for path, log in sorted(self._logs.items()):
            for line in log.read():
                yield f"[{path.stem}] {with_cell_names(line)}"

    def close(self) -> None:
        for log in self._logs.values():
            log.close()


class _Log:
    """One log, also when it is rotated meanwhile. lines: how many of those that are there already."""

    def __init__(self, path: Path, lines: int | None) -> None:
        self._path, self._file, self._first = path, path.open("rb"), lines
        self._begun = b""  # a line that has not ended yet
        self.latest = ""

    def read(self) -> list[str]:
        """The lines that have ended since the last time."""
        first, self._first = self._first, None
        data = self._begun + (self._new() if first is None else self._last(first))
        whole, end, self._begun = data.rpartition(b"\n")
        lines = (whole + end).decode(errors="replace").splitlines()
        lines = lines if first is None else lines[max(len(lines) - first, 0) :]
        begun = self._begun.decode(errors="replace").splitlines() if first is None else []
        self.latest = next((line for line in [*reversed(begun), *reversed(lines)] if line.strip()), self.latest)
        return lines

    def _new(self) -> bytes:
        position, rest = self._file.tell(), b""
        if os.fstat(self._file.fileno()).st_size < position:  # rotated: the rest stands in its older part
            with suppress(FileNotFoundError), older(self._path).open("rb") as before:
                before.seek(position)
                rest = before.read()
            self._file.seek(0)
        return rest + self._file.read()

    def _last(self, lines: int) -> bytes:
        data = _from_end(self._file, lines)
        if data.count(b"\n") <= lines:  # with just as many, the first one may begin before it
            with suppress(FileNotFoundError), older(self._path).open("rb") as before:
                data = _from_end(before, lines) + data
        return data

    def close(self) -> None:
        self._file.close()


def _from_end(file: BinaryIO, lines: int) -> bytes:
    """The end of a file, with at least so many lines if it has them; reads no more than it must."""
    end = position = file.seek(0, os.SEEK_END)
    found, blocks = 0, [b""]
    while position > 0 and found <= lines:
        start = max(position - _BLOCK, 0)
        file.seek(start)
        blocks.append(file.read(position - start))
        position, found = start, found + blocks[-1].count(b"\n")
    file.seek(end)
    return b"".join(reversed(blocks))
