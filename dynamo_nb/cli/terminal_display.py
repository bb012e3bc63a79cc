"""Lines of a terminal that are overwritten while they change."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO


class TerminalDisplay:
    """A `Display` on a text stream. A stream that is not a terminal, such as a log, gets each step once.

    Args:
        stream: Stream to write to; stderr by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._lines = 0
        self._logged: set[str] = set()

    def show(self, bundle: Mapping[str, str], steps: Sequence[str] = ()) -> None:
        if not self._stream.isatty():
            new = [step for step in steps if step not in self._logged]
            self._logged.update(new)
            self._write("".join(f"{step}\n" for step in new))
            return
        size = shutil.get_terminal_size()
        # Lines that scrolled off the screen, or that the terminal wrapped, could not be erased.
        lines = bundle["text/plain"].splitlines()[: size.lines - 2]
        self._write(self._erase() + "\n".join(line[: size.columns - 1] for line in lines))
        self._lines = len(lines)

    def close(self, bundle: Mapping[str, str]) -> None:
        text = bundle["text/plain"]
        self._write(self._erase() + (f"{text}\n" if text else ""))
        self._lines = 0

    def _erase(self) -> str:
        """Returns the codes that move to the first line and erase from there."""
        if not self._lines:
            return ""
        return "\r" + (f"\x1b[{self._lines - 1}A" if self._lines > 1 else "") + "\x1b[J"

    def _write(self, text: str) -> None:
        print(text, end="", file=self._stream, flush=True)
