"""Importing the code of services into this process, apart from the modules that the process has already."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, ModuleType

from dynamo_nb.errors import DynamoError, TargetError
from dynamo_nb.sdk.origin import Origin, temporary_cell_finder
from dynamo_nb.source import CodeTree
from dynamo_nb.source.source_map import SourceMap, locate

_CELL = re.compile(r"# (cell \d+)")
"""The comment above the lines of a cell in a module."""

_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
"""Folders of imported modules. Tracebacks show their lines, so the folders stay until the process exits."""


@contextmanager
def importing_from(folder: Path, tree: CodeTree, loaded: dict[str, ModuleType] | None = None) -> Iterator[None]:
    """Within the context, the modules of a tree are imported from `folder`. Then `sys.modules` is as it was before.

    Args:
        folder: Contains the tree.
        tree: Names the modules. Other modules of the same names are hidden meanwhile.
        loaded: Modules that an earlier context imported. New ones are added.
    """
    names = {".".join(parts[: n + 1]) for m in tree.modules for parts in [m.name.split(".")] for n in range(len(parts))}
    hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.modules.update(loaded or {})
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # nothing is written into a bundle
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = writes
        found = {name: module for name in names if (module := sys.modules.pop(name, None)) is not None}
        if loaded is not None:
            loaded.update(found)
        sys.modules.update(hidden)


def class_at(target: str) -> type:
    """Imports the class `module:Class`, and stores its text, which `inspect` cannot find without the module."""
    module, _, name = target.partition(":")
    cls: type = getattr(importlib.import_module(module), name)
    for kind in cls.__mro__:
        if kind.__module__.partition(".")[0] == module.partition(".")[0]:
            with suppress(OSError, TypeError):
                kind.__dynamo_source__ = inspect.getsource(kind)  # type: ignore[attr-defined]
    return cls


def import_class(tree: CodeTree, target: str) -> type:
    """Writes a tree to a temporary folder, and imports the class `module:Class` from it.

    Raises TargetError with the cell and line if the import fails.
    """
    temporary = tempfile.TemporaryDirectory(prefix="dynamo-")
    _FOLDERS.append(temporary)
    folder = tree.write(Path(temporary.name, "code"))

    def find_cell(frame: FrameType) -> Origin | None:
        file = Path(frame.f_code.co_filename)
        if not file.is_relative_to(folder):
            return None
        lines_above = reversed(file.read_text(encoding="utf-8").splitlines()[: frame.f_lineno])
        label = next((found[1] for line in lines_above if (found := _CELL.match(line))), None)
        return Origin(label, label) if label is not None else None

    with importing_from(folder, tree), temporary_cell_finder(find_cell):
        try:
            return class_at(target)
        except DynamoError:
            raise
        except Exception as error:
            source_maps = {str(folder / path): found for path, found in tree.source_maps.items()}
            raise import_error(target.partition(":")[2], folder, error, source_maps) from error


def import_error(name: str, root: Path, error: Exception, source_maps: Mapping[str, SourceMap] = {}) -> TargetError:
    """Describes a failed import by the user's own line, without the frames of the import machinery.

    Args:
        name: Name of the module or file.
        root: Folder of the user's code.
        error: Error that the import raised.
        source_maps: Source maps by file.
    """

    def place(file: str, line: int) -> str:
        return locate(source_maps.get(file, ()), line) or f"{file}, line {line}"

    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).is_relative_to(root):
            where = f"{place(frame.filename, frame.lineno or 0)}: {frame.line}"
    if isinstance(error, SyntaxError):
        where = f"{place(error.filename or '', error.lineno or 0)}: {(error.text or '').strip()}"
    kind = type(error).__name__
    message = error.msg if isinstance(error, SyntaxError) else error
    return TargetError(f"{name} cannot be imported: {kind}: {message}", where=where)
