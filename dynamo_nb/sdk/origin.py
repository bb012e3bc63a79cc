"""The origin of a definition or a link: a cell of a notebook, or a line of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(frozen=True)
class Origin:
    """The origin of a piece of code.

    key: the same for each run of the same cell or file: the id of a cell, the path of a file.
    location: for messages, such as `cell 4, line 3` or `graphs/agg.py:12`.
    """

    key: str
    location: str

    def __str__(self) -> str:
        return self.location


CellFinder = Callable[[FrameType], Origin | None]
"""The cell that a frame runs, with its line; None for a frame of a file."""

_cell_finder: CellFinder | None = None


def set_cell_finder(find: CellFinder | None) -> None:
    """Sets how cells are found: a notebook sets it when the extension is loaded, and None when it is unloaded."""
    global _cell_finder  # noqa: PLW0603
    _cell_finder = find


@contextmanager
def temporary_cell_finder(find: CellFinder) -> Iterator[None]:
    """Asks `find` first, then the finder that is set, until the context ends."""
    previous = _cell_finder
    set_cell_finder(lambda frame: find(frame) or (previous(frame) if previous is not None else None))
    try:
        yield
    finally:
        set_cell_finder(previous)


def origin_of(frame: FrameType) -> Origin:
    """The origin of the line that `frame` runs now."""
    if _cell_finder is not None and (cell := _cell_finder(frame)) is not None:
        return cell
    file = frame.f_code.co_filename
    return Origin(file, f"{file}:{frame.f_lineno}")
