"""Cells: their text, in the order in which they ran."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynamo_nb.errors import TargetError


@dataclass(frozen=True)
class Cell:
    """One code cell.

    text: as typed, IPython lines included. label: its name in messages ("cell 7"). number: its execution count, or its
    position in a saved notebook. cell_id: None if the front end sends none. failed_at: the line, from 1, at which it
    raised an exception; None if it ran to its end, 0 if it did not start. Definitions before that line count.
    earlier: earlier runs that this one replaces. The kernel may still have what they did.
    """

    text: str
    label: str
    number: int = 0
    cell_id: str | None = None
    failed_at: int | None = None
    earlier: tuple[Cell, ...] = field(default=(), compare=False)

    @property
    def key(self) -> str:
        """The same for each run of a cell: its id, or its text with front ends that send no id (nbclient, papermill).

        Two cells with the same text and no id have the same key. `CellBook` tells them apart by what they do.
        """
        return self.cell_id or self.text


def read_notebook(path: str | Path) -> list[Cell]:
    """The code cells of a saved notebook (nbformat 4), in order, executed or not.

    Their numbers are those of a run from top to bottom, which skips blank cells. Raises TargetError if the file cannot
    be read as a notebook.
    """
    path = Path(path)
    try:
        notebook: Any = json.loads(path.read_text(encoding="utf-8"))
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        texts = [cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"]) for cell in cells]
    except OSError as error:
        raise TargetError(f"the notebook cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, KeyError, TypeError) as error:
        remedy = "save it in format 4; `jupyter nbconvert --to notebook` converts older notebooks"
        raise TargetError("this file is not a Jupyter notebook of format 4", where=str(path), remedy=remedy) from error
    typed = [(cell, text) for cell, text in zip(cells, texts, strict=True) if text.strip()]
    return [Cell(text, f"cell {number}", number, cell.get("id")) for number, (cell, text) in enumerate(typed, start=1)]
