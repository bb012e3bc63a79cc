"""Tracebacks of workers, which lead to the cells that their lines were typed in.

A worker imports ordinary files, so that debuggers, `inspect` and profilers find what they always find; only the text
of a traceback names the cell instead: `cell 7 "Backend", line 12` for `File "…/cells/Backend.py", line 4`. Where lines
are from stands beside the folder of the code, so the code itself is the same bytes everywhere.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import traceback
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamo_nb.source import Module

_SUFFIX = ".cells.json"
_FRAME = re.compile(r'File "(?P<folder>[^"\n]+?/code/[0-9a-f]{16})/(?P<path>[^"\n]+)", line (?P<line>\d+)')
_FOLDERS = 64
"""Of code whose places are kept in memory: a deployment has one for each edit."""

Places = dict[str, list[tuple[int, int, str, int]]]


def write_places(modules: Iterable[Module], folder: Path) -> None:
    """Writes beside a folder of code where its lines are from."""
    if places := {module.path: module.places for module in modules if module.places}:
        new = folder.with_name(f"{folder.name}.new")
        new.write_text(json.dumps(places), encoding="utf-8")
        new.replace(f"{folder}{_SUFFIX}")


def with_cells(text: str) -> str:
    """The text of a traceback with cells for the files that were made of them."""
    return _FRAME.sub(_named, text) if "/code/" in text else text


def place_in(spans: Iterable[tuple[int, int, str, int]], line: int) -> str:
    """`cell 7 "Backend", line 12` for a line of a module with these places; "" for one that nobody typed."""
    spans = sorted(spans)
    at = bisect_right(spans, line, key=lambda span: span[0]) - 1
    if at < 0 or line >= spans[at][0] + spans[at][1]:
        return ""
    first, _, cell, cell_line = spans[at]
    return f"{cell}, line {cell_line + line - first}"


def name_cells() -> None:
    """Makes every traceback that this process prints lead to the cells: those of logging, asyncio and threads too."""
    shown = traceback.StackSummary.format_frame_summary

    def format_frame_summary(self: Any, frame: Any, **options: Any) -> Any:
        return with_cells(shown(self, frame, **options))

    traceback.StackSummary.format_frame_summary = format_frame_summary  # type: ignore[assignment, method-assign]
    threading.excepthook = _of_thread


def _named(frame: re.Match[str]) -> str:
    try:
        spans = _places_of(frame["folder"]).get(frame["path"], [])
    except OSError:  # it was not written, or has gone with its deployment
        return frame[0]
    return place_in(spans, int(frame["line"])) or frame[0]


@lru_cache(maxsize=_FOLDERS)
def _places_of(folder: str) -> Places:
    places: Places = json.loads(Path(folder + _SUFFIX).read_text(encoding="utf-8"))
    return places


def _of_thread(args: threading.ExceptHookArgs) -> None:
    """What Python does by itself, in C up to 3.12 and past `traceback`."""
    if args.exc_type is not SystemExit and args.exc_value is not None:
        print(f"Exception in thread {args.thread.name if args.thread else ''}:", file=sys.stderr)
        traceback.print_exception(args.exc_value)
