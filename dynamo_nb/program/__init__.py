"""Programs: graphs to serve, each with the source of its code.

A module, a file, a saved notebook, a bundle, or the classes of this process: each becomes a `Program`. Later steps
treat all programs alike.
"""

from dynamo_nb.program.absent import placeholder
from dynamo_nb.program.find import find, read_again
from dynamo_nb.program.importing import class_at, importing_from
from dynamo_nb.program.live import live
from dynamo_nb.program.program import CellsSource, Program, Source, TargetSource
from dynamo_nb.program.serving_cell import variable_of

__all__ = [
    "CellsSource",
    "Program",
    "Source",
    "TargetSource",
    "class_at",
    "find",
    "importing_from",
    "live",
    "placeholder",
    "read_again",
    "variable_of",
]
