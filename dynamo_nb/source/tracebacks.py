"""Tracebacks of workers that name cells instead of generated files.

A worker imports ordinary files, so debuggers, `inspect` and profilers work as usual. Only the text of a traceback
changes: `cell 7 "Backend", line 12` replaces `File "…/cells/Backend.py", line 4`.
"""

from __future__ import annotations

import re
import sys
import threading
import traceback
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from dynamo_nb.source.source_map import locate, read_source_maps

_FRAME = re.compile(r'File "(?P<folder>[^"\n]+?/code/[0-9a-f]{16})/(?P<path>[^"\n]+)", line (?P<line>\d+)')
_FOLDERS = 64
"""Code folders whose source maps are cached. A deployment has one folder for each edit."""

_source_maps = lru_cache(maxsize=_FOLDERS)(read_source_maps)


def with_cell_names(text: str) -> str:
    """The text of a traceback, with `cell …, line …` in place of the generated files."""
    return _FRAME.sub(_named, text) if "/code/" in text else text


def is_written_code(filename: str) -> bool:
    """Returns True for a generated module of workers, with code of a service.

    Args:
        filename: Path of the module.
    """
    return _FRAME.match(f'File "{filename}", line 1') is not None


def line_name(filename: str, line: int) -> str:
    """Returns the name of a line of code: `cell 3 "Backend", line 4` for a cell, else `module.py:4`.

    Args:
        filename: Path of the module.
        line: Number of the line.
    """
    frame = f'File "{filename}", line {line}'
    named = with_cell_names(frame)
    return named if named != frame else f"{PurePath(filename).name}:{line}"


def show_cell_names() -> None:
    """Makes every traceback that this process prints name cells, also those of logging, asyncio and threads."""
    original = traceback.StackSummary.format_frame_summary

    def format_frame_summary(self: Any, frame: Any, **options: Any) -> Any:
        return with_cell_names(original(self, frame, **options))

    traceback.StackSummary.format_frame_summary = format_frame_summary  # type: ignore[assignment, method-assign]
    threading.excepthook = _print_thread_exception


def _named(frame: re.Match[str]) -> str:
    try:
        source_map = _source_maps(frame["folder"]).get(frame["path"], ())
    except OSError:  # not written, or removed with its deployment
        return frame[0]
    return locate(source_map, int(frame["line"])) or frame[0]


def _print_thread_exception(args: threading.ExceptHookArgs) -> None:
    """Prints through `traceback`, as Python's own hook does from 3.13 on; before that it prints in C."""
    if args.exc_type is not SystemExit and args.exc_value is not None:
        print(f"Exception in thread {args.thread.name if args.thread else ''}:", file=sys.stderr)
        traceback.print_exception(args.exc_value)
