"""From cells, or from files, to the modules that workers import, with their digests."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamo_nb.source.cell_book import CellBook as CellBook
    from dynamo_nb.source.cells import Cell as Cell
    from dynamo_nb.source.cells import read_notebook as read_notebook
    from dynamo_nb.source.code_tree import CodeTree as CodeTree
    from dynamo_nb.source.code_tree import Module as Module
    from dynamo_nb.source.code_tree import verify as verify
    from dynamo_nb.source.files import slice_modules as slice_modules
    from dynamo_nb.source.layout import PACKAGE as PACKAGE
    from dynamo_nb.source.services import services_in as services_in
    from dynamo_nb.source.slice import slice_services as slice_services

_MODULES = {
    "PACKAGE": "layout",
    "Cell": "cells",
    "CellBook": "cell_book",
    "CodeTree": "code_tree",
    "Module": "code_tree",
    "read_notebook": "cells",
    "services_in": "services",
    "slice_modules": "files",
    "slice_services": "slice",
    "verify": "code_tree",
}

__all__ = sorted(_MODULES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used: a worker needs only the tracebacks of this package."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
