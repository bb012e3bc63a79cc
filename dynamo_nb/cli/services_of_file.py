"""The services that a file defines, read from its source: completion must not run a user's code."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dynamo_nb.errors import DynamoError
from dynamo_nb.source import Cell, read_notebook, services_in


@dataclass(frozen=True)
class WrittenService:
    """A service in the source of a file.

    Attributes:
        parameters: The parameters of its constructor, without `self`.
    """

    parameters: Mapping[str, inspect.Parameter]


def services_of_file(target: str) -> dict[str, WrittenService]:
    """Returns the services of a file, by name; an empty dict if the file cannot be read.

    Args:
        target: `notebook.ipynb`, `path/file.py` or `module`, with or without `:Service`.
    """
    place = target.partition(":")[0]
    path = Path(place if place.endswith((".py", ".ipynb")) else place.replace(".", "/") + ".py").expanduser()
    try:
        cells = read_notebook(path) if path.suffix == ".ipynb" else [Cell(path.read_text("utf-8"), path.name, 1)]
        names = services_in(cells)
    except (OSError, ValueError, DynamoError):
        return {}
    classes: dict[str, ast.ClassDef] = {}
    for cell in cells:
        try:
            tree = ast.parse(cell.text)
        except (SyntaxError, ValueError):  # a cell magic
            continue
        classes.update((node.name, node) for node in tree.body if isinstance(node, ast.ClassDef))
    return {name: WrittenService(_parameters(classes.get(name))) for name in names}


def _parameters(cls: ast.ClassDef | None) -> dict[str, inspect.Parameter]:
    for node in cls.body if cls is not None else ():
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            return {name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names[1:]}
    return {}
