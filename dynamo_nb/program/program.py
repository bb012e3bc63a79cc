"""A program: the graph of services that a target names, and where its code is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from dynamo_nb.config.layers import Layer
from dynamo_nb.errors import DynamoError
from dynamo_nb.graph.graph import Graph
from dynamo_nb.source import Cell, CodeTree


class TargetSource(msgspec.Struct, frozen=True, kw_only=True, tag="target"):
    """Plain data of a program in files: any process can read them again.

    Attributes:
        target: As for `find`.
        cwd: Folder in which the target is found.
        name: Name of the deployment, where a user chose one.
        root: Folder of the modules; "" for the folder in which `find` found them.
        workers_cwd: Working directory of workers. Set together with `root`, by a script or a module that serves itself.
    """

    target: str
    cwd: str
    name: str = ""
    root: str = ""
    workers_cwd: str = ""


class CellsSource(msgspec.Struct, frozen=True, kw_only=True, tag="cells"):
    """Plain data of a program in the cells of a live notebook: only its kernel can define the services again.

    Attributes:
        entry: Name of the entry's class.
        cells: Cells that had run.
        links: Source, target, key of the cell and its place in messages.
        known: Names of all services of the notebook; configuration may name them.
        name: Name of the deployment, where a user chose one.
    """

    entry: str
    cells: tuple[Cell, ...]
    links: tuple[tuple[str, str, str, str], ...] = ()
    known: tuple[str, ...] = ()
    name: str = ""


Source = TargetSource | CellsSource
"""The source of a program, as plain data: another process makes the program again from it."""


@dataclass(frozen=True)
class Program:
    """The graph of services that a target names, and where its code is.

    Attributes:
        name: Name of its deployment.
        graph: The services and their edges.
        code: Returns the modules of the services that run.
        root: Folder from which workers import the modules. None: the code has to be written to a folder first.
        cwd: Working directory of workers.
        source: Source of the program, as plain data.
        layers: Configuration in the program. A user's configuration overrides it.
        options: Options of `serve` in the program, by name. A user's options override them.
        options_origin: Their origin.
        notes: Lines about configuration in the program that cannot be read.
        absent: Services whose code cannot be imported in this process, with the error: a library is not installed.
            Only their interface is known here. They can run elsewhere.
    """

    name: str
    graph: Graph
    code: Callable[[], CodeTree]
    root: Path | None
    cwd: Path
    source: Source
    layers: Sequence[Layer] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    options_origin: str = ""
    notes: Sequence[str] = ()
    absent: Mapping[str, DynamoError] = field(default_factory=dict)

    def named(self, name: str) -> Program:
        """Returns the same program with another name for its deployment."""
        return replace(self, name=name, source=msgspec.structs.replace(self.source, name=name))
