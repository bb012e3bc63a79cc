"""Programs in modules and files."""

from __future__ import annotations

import sys
from pathlib import Path

from dynamo_nb.errors import DynamoError, TargetError
from dynamo_nb.graph.graph import Graph
from dynamo_nb.program.entry import entry_class
from dynamo_nb.program.importing import import_error
from dynamo_nb.program.program import Program, Source
from dynamo_nb.sdk.context import import_services
from dynamo_nb.source import CodeTree, slice_modules
from dynamo_nb.source.files import drop_stale_bytecode
from dynamo_nb.source.search_path import process_search_path


def module_program(
    name: str, service: str, root: Path, cwd: Path, source: Source, *, file: Path | None = None
) -> Program:
    """Imports a module, and returns the graph of a service in it.

    Args:
        name: The module's name.
        service: Name of the entry; "" for the only service that no other depends on.
        root: Folder to import from.
        cwd: Working directory of workers.
        source: For `Program.source`.
        file: The file that the module has to come from, if it matters.

    Raises:
        TargetError: The module cannot be found or imported, or has no such service.
    """
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    drop_stale_bytecode(name, root)
    try:
        module = import_services(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            remedy = "write module:Service, path/file.py:Service or notebook.ipynb:Service, or set --working-dir"
            raise TargetError(f"module {name!r} not found", where=str(root), remedy=remedy) from None
        raise import_error(name, root, error) from error
    except DynamoError:
        raise
    except Exception as error:
        raise import_error(name, root, error) from error
    if file is not None and Path(module.__file__ or "").resolve() != file:
        raise TargetError(
            f"another module is named {name!r}", where=f"{module.__file__} hides {file}", remedy="rename the file"
        )
    namespace = vars(module)
    graph = Graph.of(entry_class(namespace, service, name), namespace)
    return Program(graph.entry, graph, lambda: code_of_modules(graph, root), root, cwd, source)


def code_of_modules(graph: Graph, root: Path) -> CodeTree:
    """Returns the files under `root` that the services which run import."""
    return slice_modules(
        {name: import_path(graph.services[name].cls) for name in graph.running}, root, process_search_path()
    )


def import_path(cls: type) -> str:
    """Returns the `module:Class` that a worker imports. A script that runs as `__main__` has its file's name."""
    module = cls.__module__
    if module == "__main__":
        module = Path(sys.modules["__main__"].__file__ or "").stem
    return f"{module}:{cls.__qualname__}"


def import_root(module: str, file: str | Path) -> Path:
    """Returns the folder from which a module in this file is imported."""
    path = Path(file).resolve()
    depth = module.count(".") + (path.name == "__init__.py")
    return path.parents[depth]
