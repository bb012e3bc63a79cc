"""From the text of cells, or from files, to the modules that a worker imports, and their digests."""

from dynamo_nb.source.cells import Cell, CellBook, read_notebook
from dynamo_nb.source.files import slice_modules
from dynamo_nb.source.layout import PACKAGE
from dynamo_nb.source.services import services_in
from dynamo_nb.source.slice import slice_services
from dynamo_nb.source.tree import CodeTree, Module, verify

__all__ = [
    "PACKAGE",
    "Cell",
    "CellBook",
    "CodeTree",
    "Module",
    "read_notebook",
    "services_in",
    "slice_modules",
    "slice_services",
    "verify",
]
