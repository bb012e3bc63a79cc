"""What workers printed: one file for each worker, read from where one left off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final


class LogTail:
    """Follows the logs in a folder. service: one service's only. lines: begin this many lines before the end of each.

    `read` gives the lines that came since the last time, each with the name of its worker before it.
    """

    PAUSE: Final = 0.1
    """Seconds between two looks; files do not tell when they grow."""

    def __init__(self, folder: Path, service: str | None = None, lines: int | None = None) -> None:
        self._folder, self._service, self._lines = folder, service, lines
        self._read: dict[Path, int] = {}

    def read(self) -> Iterator[str]:
        for log in sorted(self._folder.glob(f"{self._service or '*'}.*.log")):
            known = self._read.get(log)
            with log.open("rb") as file:
                file.seek(known or 0)
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._read[log] = (known or 0) + len(whole)
            lines = whole.decode(errors="replace").splitlines()
            if known is None and self._lines is not None:
                lines = lines[-self._lines :]
            for line in lines:
                yield f"[{log.stem}] {line}"
