"""Decides if a deployment that was left running is of the notebook that runs now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from dynamo_nb.control.record import Record, left_running
from dynamo_nb.program import CellsSource
from dynamo_nb.source import Cell

_LEAST_SHARE: Final = 0.5
"""Share of the cells that ran in both kernels, from which two notebooks without a path are the same."""


def left_by_another_name(notebook: str, known: Collection[str] = ()) -> list[Record]:
    """Returns the deployments of notebooks that no longer exist: this notebook may be one of them, renamed.

    Args:
        notebook: The notebook, see `Record.notebook`.
        known: Ids of deployments to leave out.
    """
    if _is_folder(notebook):
        return []
    others = (record for record in left_running(known) if record.notebook not in {"", notebook})
    return [record for record in others if not _is_folder(record.notebook) and not Path(record.notebook).exists()]


def is_of_this_notebook(record: Record, notebook: str, source: object, cells: Sequence[Cell]) -> bool:
    """Returns True if a deployment was served by the notebook whose cells run now.

    Args:
        record: The deployment, one of those that the functions above return.
        notebook: The notebook, see `Record.notebook`.
        source: The source of its program.
        cells: The cells that have run in this kernel.
    """
    if not isinstance(source, CellsSource):
        return False
    if record.notebook == notebook and not _is_folder(notebook):
        return True
    before, now = {cell.key for cell in source.cells}, {cell.key for cell in cells}
    return len(before & now) >= _LEAST_SHARE * len(now)


def _is_folder(notebook: str) -> bool:
    return notebook.endswith("/")
