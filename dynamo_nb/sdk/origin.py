"""Where a definition or a link was written: a cell of a notebook, or a line of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(frozen=True)
class Origin:
    """A place in a person's code.

    key: what a re-run of the same place has in common with the run before (a cell's id, a file's path).
    place: what a message calls it, such as `cell 4, line 3` or `graphs/agg.py:12`.
    """

    key: str
    place: str

    def __str__(self) -> str:
        return self.place


_cell_of: Callable[[FrameType], Origin | None] | None = None


def tell_cells_by(find: Callable[[FrameType], Origin | None] | None) -> None:
    """Lets the notebook name the cell that a frame belongs to; `None` takes that back."""
    global _cell_of  # noqa: PLW0603
    _cell_of = find


@contextmanager
def telling_cells_by(find: Callable[[FrameType], Origin | None]) -> Iterator[None]:
    """The same for a while, before whatever else tells cells."""
    held = _cell_of
    tell_cells_by(lambda frame: find(frame) or (held(frame) if held is not None else None))
    try:
        yield
    finally:
        tell_cells_by(held)


def origin_of(frame: FrameType) -> Origin:
    """The place where `frame` is executing now."""
    if _cell_of is not None and (cell := _cell_of(frame)) is not None:
        return cell
    file = frame.f_code.co_filename
    return Origin(file, f"{file}:{frame.f_lineno}")
