"""What workers printed: one file for each worker, read from where one left off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final


class LogTail:
    """Follows the logs in a folder. service: one service's only. lines: begin this many lines before the end of each.

    Without a service the supervisor's own log is among them: it says which workers it lost and started again.
    `read` gives the lines that came since the last time, each with the name of its worker before it. The files stay
    open, so that the last lines of a deployment can be read after its folder has gone.
    """

    PAUSE: Final = 0.1
    """Seconds between two looks; files do not tell when they grow."""

    def __init__(self, folder: Path, service: str | None = None, lines: int | None = None) -> None:
        self._folder, self._lines = folder, lines
        self._names = "*.log" if service is None else f"{service}.*.log"
        self._files: dict[Path, BinaryIO] = {}

    def read(self) -> Iterator[str]:
        new = set()
        with suppress(FileNotFoundError):  # the folder goes when the deployment ends
            for log in set(self._folder.glob(self._names)) - set(self._files):
                self._files[log] = log.open("rb")
                new.add(log)
        for log, file in sorted(self._files.items()):
            begin = file.tell()
            data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            file.seek(begin + len(whole))
            lines = whole.decode(errors="replace").splitlines()
            if log in new and self._lines is not None:
                lines = lines[max(len(lines) - self._lines, 0) :]
            for line in lines:
                yield f"[{log.stem}] {line}"

    def close(self) -> None:
        for file in self._files.values():
            file.close()
