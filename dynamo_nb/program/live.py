"""Programs in this process: the classes of a live notebook's cells, or of the script or module that runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dynamo_nb.errors import TargetError
from dynamo_nb.graph.graph import Graph
from dynamo_nb.program.modules import code_of_modules, import_path, import_root
from dynamo_nb.program.program import CellsSource, Program, TargetSource
from dynamo_nb.sdk.links import LinkBook, links_in
from dynamo_nb.source import Cell, CodeTree, slice_modules, slice_services
from dynamo_nb.source.headers import config_layers
from dynamo_nb.source.search_path import process_search_path


def live(
    entry: type,
    namespace: Mapping[str, Any],
    cells: Sequence[Cell] | None,
    name: str = "",
    links: LinkBook | None = None,
) -> Program:
    """Returns the graph of a service as this process defines it now.

    Args:
        entry: The entry's class.
        namespace: Global names of the notebook, script or module that serves.
        cells: Cells that have run in the notebook; None for a script or module.
        name: Name of the deployment; "" for the entry's.
        links: Links to use instead of those of `namespace`.

    Raises:
        DefinitionError: Two services have the same name, or a dependency names no service.
        LinkError: A link does not fit.
        TargetError: The services are defined in an interactive session without the extension.
    """
    links = links_in(namespace) if links is None else links
    graph = Graph.of(entry, namespace, links=links)
    if cells is None:
        return _in_files(entry, graph, namespace, name)
    return _in_cells(entry, graph, namespace, cells, name, links)


def _in_files(entry: type, graph: Graph, namespace: Mapping[str, Any], name: str) -> Program:
    main = getattr(sys.modules["__main__"], "__file__", None)
    if main is None and any(graph.services[n].cls.__module__ == "__main__" for n in graph.running):
        remedy = "in a notebook run %load_ext dynamo_nb first; elsewhere put the services into a file"
        raise TargetError(
            "the services are not defined in a file that workers can import", where=entry.__name__, remedy=remedy
        )
    if main and entry.__module__ == "__main__":
        root = Path(main).resolve().parent
    else:
        root = import_root(entry.__module__, sys.modules[entry.__module__].__file__ or ".")
    # The links of the module that serves count, not those of the module that defines the class.
    module = namespace.get("__name__", entry.__module__)
    source = TargetSource(
        target=f"{Path(main).stem if main and module == '__main__' else module}:{graph.entry}",
        cwd=str(import_root(module, namespace.get("__file__") or main or root)),
        name=name,
        root=str(root),
        workers_cwd=str(Path.cwd()),
    )
    return Program(name or graph.entry, graph, lambda: code_of_modules(graph, root), root, Path.cwd(), source)


def _in_cells(
    entry: type, graph: Graph, namespace: Mapping[str, Any], cells: Sequence[Cell], name: str, links: LinkBook
) -> Program:
    def code() -> CodeTree:
        in_cells = {n: graph.services[n].cls for n in graph.running if graph.services[n].cls.__module__ == "__main__"}
        imported = {n: import_path(graph.services[n].cls) for n in graph.running if n not in in_cells}
        root, search = Path.cwd(), process_search_path()
        tree = slice_services(cells, [c.__name__ for c in in_cells.values()], live=namespace, root=root, search=search)
        tree = tree.renamed({cls.__name__: n for n, cls in in_cells.items()})
        return tree | slice_modules(imported, root, search) if imported else tree

    source = CellsSource(
        entry=entry.__name__,
        cells=tuple(cells),
        links=tuple(
            (source, target, origin.key, origin.location)
            for source, target in links
            if (origin := links.origin(source, target)) is not None
        ),
        known=tuple(sorted(graph.known)),
        name=name,
    )
    layers = config_layers(cell for cell in cells if cell.failed_at is None)
    return Program(name or graph.entry, graph, code, None, Path.cwd(), source, layers)
