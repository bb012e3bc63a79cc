"""A line of a terminal that is written again as it changes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from typing import Any, TextIO

_BACK = "\r\x1b[K"


class TerminalLine:
    """A Display. On what is no terminal, such as a log, it says nothing but its last words."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream: Any = stream or sys.stderr
        self._written = False

    def show(self, bundle: Mapping[str, str]) -> None:
        if self._stream.isatty():
            words = bundle["text/plain"].partition("\n")[0]
            width = shutil.get_terminal_size().columns - 1  # a full line would scroll on some terminals
            print(f"{_BACK}{words[:width]}", end="", file=self._stream, flush=True)
            self._written = True

    def close(self, bundle: Mapping[str, str]) -> None:
        back, words = _BACK if self._written else "", bundle["text/plain"]
        print(back + (f"{words}\n" if words else ""), end="", file=self._stream, flush=True)
