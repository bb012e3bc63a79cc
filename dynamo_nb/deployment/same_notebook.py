"""Decides if a detached deployment belongs to the running notebook."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from dynamo_nb.control.record import Record, left_running
from dynamo_nb.program import CellsSource
from dynamo_nb.source import Cell

_LEAST_SHARE: Final = 0.5
"""Minimum share of common cells by which two notebooks without paths are taken for one notebook."""


def left_by_another_name(notebook: str, known: Collection[str] = ()) -> list[Record]:
    """Returns the detached deployments of notebooks whose files do not exist. This notebook may be a renamed one.

    Args:
        notebook: The notebook, see `Record.notebook`.
        known: Ids of deployments to leave out.
    """
    if _is_folder(notebook):
        return []
    others = (record for record in left_running(known) if record.notebook not in {"", notebook})
    return [record for record in others if not _is_folder(record.notebook) and not Path(record.notebook).exists()]


def is_of_this_notebook(record: Record, notebook: str, source: object, cells: Sequence[Cell]) -> bool:
    """Returns True if the running notebook served a deployment.

    Args:
        record: The deployment, from `left_running` or `left_by_another_name`.
        notebook: The notebook, see `Record.notebook`.
        source: The source of the deployment's program.
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
