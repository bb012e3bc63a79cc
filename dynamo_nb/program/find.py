"""From a target to its program: `module:Service`, a file, a saved notebook or the folder of a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dynamo_nb.bundle import GRAPH_FILE
from dynamo_nb.errors import TargetError
from dynamo_nb.program.exported_bundle import bundle_program
from dynamo_nb.program.modules import code_of_modules, module_program
from dynamo_nb.program.program import Program, TargetSource
from dynamo_nb.program.saved_notebook import SUFFIX, notebook_program


def find(target: str, working_dir: Path | None = None) -> Program:
    """Returns the program that a target names.

    Args:
        target: `module:Service`, `file.py:Service`, `notebook.ipynb:Service` or the folder of a bundle. `:Service` may
            be left out if exactly one service is not a dependency of another.
        working_dir: Folder in which the target is found; None for the current one.

    Raises:
        TargetError: The target was not found, or cannot be imported.
        BundleError: A file of the bundle was altered or is missing.
    """
    cwd = (working_dir or Path.cwd()).resolve()
    source = TargetSource(target=target, cwd=str(cwd))
    place, _, service = target.rpartition(":") if ":" in target else (target, "", "")
    path = cwd / place
    if (path / GRAPH_FILE).is_file():
        return bundle_program(path, source)
    if place.endswith(SUFFIX):
        return notebook_program(path, service, source)
    if place.endswith(".py"):
        if not path.is_file():
            remedy = "correct the path, or set --working-dir"
            raise TargetError(f"file not found: {place}", where=str(cwd), remedy=remedy)
        return module_program(path.stem, service, path.parent, cwd, source, file=path)
    if path.is_dir():
        remedy = f"the folder of a bundle contains {GRAPH_FILE}; `dynamo export` writes one"
        raise TargetError(f"{place} is not a bundle", where=str(path), remedy=remedy)
    return module_program(place, service, cwd, cwd, source)


def read_again(source: TargetSource) -> Program:
    """Returns the program of a source, read again from its files. Raises what `find` does."""
    program = find(source.target, Path(source.cwd))
    if not source.root:
        return program.named(source.name) if source.name else program
    root, graph = Path(source.root), program.graph
    return replace(
        program,
        name=source.name or program.name,
        code=lambda: code_of_modules(graph, root),
        root=root,
        cwd=Path(source.workers_cwd),
        source=source,
    )
