"""Cases: the notebooks to run, each with one set of parameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from dynamo_nb.errors import DynamoError, TargetError, suggestion

_HIDDEN: Final = (".", "build", "node_modules")  # prefixes of folders that are not searched


@dataclass(frozen=True)
class Case:
    """One run of a notebook.

    Attributes:
        notebook: Its path.
        parameters: The parameters that the run sets.
    """

    notebook: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The path, and the parameters in brackets."""
        values = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.notebook}[{values}]" if values else str(self.notebook)


def find_cases(
    paths: Sequence[Path], parameters: Mapping[str, Any], matrix: Mapping[str, Sequence[Any]] | None = None
) -> list[Case]:
    """Returns the cases of notebooks and of folders with notebooks.

    Args:
        paths: Notebooks, and folders to search.
        parameters: Values of parameters, by name.
        matrix: Lists of values, by name of the parameter. Each combination is a case.

    Raises:
        TargetError: A path does not exist or is not a notebook.
        DynamoError: A notebook has no such parameter.
    """
    matrix = matrix or {}
    found = []
    for notebook in _notebooks(paths):
        known = _parameters_of(notebook)
        if unknown := [name for name in (*parameters, *matrix) if name not in known]:
            remedy = suggestion(unknown[0], known) if known else 'give one cell the tag "parameters"'
            raise DynamoError(f"{notebook.name} has no parameter {unknown[0]!r}", where=str(notebook), remedy=remedy)
        found += [
            Case(notebook, {**parameters, **dict(zip(matrix, values, strict=True))})
            for values in itertools.product(*matrix.values())
        ]
    return found


def _notebooks(paths: Sequence[Path]) -> Iterator[Path]:
    seen = set[Path]()
    for path in paths:
        if not path.exists():
            raise TargetError("no such notebook or folder", where=str(path))
        if path.is_file() and path.suffix != ".ipynb":
            raise TargetError("this file is not a notebook", where=str(path), remedy="pass .ipynb files or folders")
        for notebook in _below(path) if path.is_dir() else [path]:
            if notebook.resolve() not in seen:
                seen.add(notebook.resolve())
                yield notebook


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith(_HIDDEN):
            yield from _below(path)
        elif path.suffix == ".ipynb" and not path.name.startswith("."):
            yield path


def _parameters_of(notebook: Path) -> list[str]:
    """The names that cells with the tag `parameters` bind."""
    import json

    from dynamo_nb.source.statements import parse

    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", [])]
        texts = ["".join(cell["source"]) for cell in tagged]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TargetError("this file is not a Jupyter notebook of format 4", where=str(notebook)) from error
    return sorted({name for text in texts for statement in parse(text).statements for name in statement.names.binds})


def read_parameters(words: Iterable[str]) -> dict[str, Any]:
    """Returns the parameters in words such as `size=3`. Values are YAML.

    Args:
        words: The words.

    Raises:
        DynamoError: A word has no `=`, or its value is not YAML.
    """
    found = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier():
            raise DynamoError(f"{word!r} does not set a parameter", where="-p", remedy="write -p name=value")
        found[name] = _yaml(text, f"-p {word}")
    return found


def read_matrix(path: Path) -> dict[str, list[Any]]:
    """Returns the values of each parameter in a YAML file, such as `size: [1, 2]`.

    Args:
        path: The file.

    Raises:
        DynamoError: The file cannot be read, or does not map names to lists.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "") or error
        raise DynamoError(f"the matrix cannot be read: {reason}", where=str(path)) from None
    data = _yaml(text, str(path))
    if not isinstance(data, dict) or not all(isinstance(values, list) and values for values in data.values()):
        raise DynamoError(
            "a matrix maps names of parameters to lists of values", where=str(path), remedy="write `size: [1, 2]`"
        )
    return {str(name): values for name, values in data.items()}


def _yaml(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DynamoError(f"{text!r:.60} is not YAML: {error}", where=where) from None
