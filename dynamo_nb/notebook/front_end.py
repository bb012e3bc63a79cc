"""Data that the front end (JupyterLab, VS Code, …) sends with its request to run a cell."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def cell_id(shell: Any) -> str | None:
    """Returns the id of the cell that the kernel runs; None from front ends without cell ids, such as nbclient."""
    return _metadata(shell).get("cellId")


def deleted_cells(shell: Any) -> Collection[str]:
    """Returns the ids of cells that were deleted since the previous request. JupyterLab sends them."""
    return _metadata(shell).get("deletedCells", ())  # type: ignore[no-any-return]


def is_jupyterlab(shell: Any) -> bool:
    """Returns True if JupyterLab or Notebook 7 sent the request: no other front end reports deleted cells.

    Args:
        shell: The shell of the notebook.
    """
    return "deletedCells" in _metadata(shell)


def _metadata(shell: Any) -> dict[str, Any]:
    request = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return request.get("metadata", {})  # type: ignore[no-any-return]
