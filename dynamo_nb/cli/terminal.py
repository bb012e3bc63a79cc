"""Lines of a terminal that are written again as they change."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO


class Terminal:
    """A Display. What is no terminal, such as a log, gets each step once, and the last words."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._lines = 0
        self._told: set[str] = set()

    def show(self, bundle: Mapping[str, str], steps: Sequence[str] = ()) -> None:
        if not self._stream.isatty():
            new = [step for step in steps if step not in self._told]
            self._told.update(new)
            self._write("".join(f"{step}\n" for step in new))
            return
        size = shutil.get_terminal_size()
        # Lines that scrolled away or were broken could not be taken back.
        lines = bundle["text/plain"].splitlines()[: size.lines - 2]
        self._write(self._back() + "\n".join(line[: size.columns - 1] for line in lines))
        self._lines = len(lines)

    def close(self, bundle: Mapping[str, str]) -> None:
        words = bundle["text/plain"]
        self._write(self._back() + (f"{words}\n" if words else ""))
        self._lines = 0

    def _back(self) -> str:
        """To the beginning of what was shown, which vanishes."""
        if not self._lines:
            return ""
        return "\r" + (f"\x1b[{self._lines - 1}A" if self._lines > 1 else "") + "\x1b[J"

    def _write(self, text: str) -> None:
        print(text, end="", file=self._stream, flush=True)
