"""Programs in saved notebooks. Only the definitions that the graph needs are executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from dynamo_nb.errors import DynamoError, TargetError, suggestion
from dynamo_nb.graph.graph import Graph
from dynamo_nb.program.absent import settled_graph
from dynamo_nb.program.entry import only_root
from dynamo_nb.program.importing import import_class
from dynamo_nb.program.program import Program, Source
from dynamo_nb.program.serving_cell import Serving, serving_of
from dynamo_nb.sdk.definition import ServiceDefinition
from dynamo_nb.sdk.links import LinkBook
from dynamo_nb.sdk.origin import Origin
from dynamo_nb.source import Cell, CodeTree, read_notebook, services_in, slice_services
from dynamo_nb.source.headers import config_layers
from dynamo_nb.source.search_path import saved_search_path
from dynamo_nb.source.statements import ipython_to_python

SUFFIX = ".ipynb"
_PATHS: Final = frozenset({"nats_credentials", "nats_tls", "tls"})
"""Options of `serve` that are paths."""

_DEPENDANT = """\
from dynamo_nb import depends as _depends
from dynamo_nb import service as _service


@_service
class _Dependant:
    dependency = _depends({})
"""


def notebook_program(path: Path, service: str, source: Source) -> Program:
    """Returns the graph of a service in a saved notebook.

    Args:
        path: The notebook.
        service: Name of the entry's class; "" for the only service that no other depends on.
        source: For `Program.source`.

    Raises:
        TargetError: The notebook cannot be read, a cell cannot be imported, or the service was not found.
    """
    cells = read_notebook(path)
    defined = services_in(cells)
    if not defined:
        raise TargetError(f"{path.name} defines no service", where=str(path), remedy="decorate a class with @service")
    if service and service not in defined:
        remedy = suggestion(service, defined)
        raise TargetError(f"{path.name} has no service {service!r}", where=f"{path}:{service}", remedy=remedy)
    search = saved_search_path([cell.text for cell in cells], path.parent)
    slice_cells = partial(slice_services, root=path.parent, search=search)

    # The classes are imported from the same modules as in workers.
    loaded: dict[str, type] = {}
    absent: dict[str, DynamoError] = {}

    def load(name: str) -> type:
        if name not in loaded:
            tree = slice_cells(cells, [name])
            try:
                loaded[name] = import_class(tree, tree.targets[name])
            except TargetError as error:
                if not isinstance(error.__cause__, ModuleNotFoundError):
                    raise
                absent[defined[name]], loaded[name] = error, interface(name)
        return loaded[name]

    def interface(name: str) -> type:
        """The part of a class that a dependency needs, without what the service itself imports."""
        tree = slice_cells([*cells, Cell(_DEPENDANT.format(name), "a dependency")], ["_Dependant"])
        return import_class(tree, tree.targets["_Dependant"].replace(":_Dependant", f":{name}"))

    def whole(definition: ServiceDefinition) -> type | None:
        return load(definition.cls.__name__) if definition.cls.__name__ in defined else None

    def build() -> Graph:
        book, links = LinkBook(), [*_links(cells)]
        # The class that fills an interface is named by nothing but the link.
        filling = {target: load(target) for _, target, _ in links if target in defined}
        for dependant, target, place in links:
            if (name := defined.get(dependant, dependant)) not in absent:  # an interface has no dependencies to link
                book.add(name, defined.get(target, target), Origin(place, place), filling.get(target))
        named = {name: partial(interface, cls) for cls, name in defined.items()}
        return Graph.of(load(entry), {}, links=book, load=whole, named=named)

    entry = service or _root(cells, defined, path.name)
    load(entry)
    if defined[entry] in absent:
        raise absent[defined[entry]]
    graph = settled_graph(build, absent)

    def code() -> CodeTree:
        names = {graph.services[n].cls.__name__: n for n in graph.running}
        return slice_cells(cells, list(names)).renamed(names)

    program = Program(path.stem, graph, code, None, path.parent, source, config_layers(cells), absent=absent)
    return _as_served(program, serving_of(cells, entry, path.parent))


def _as_served(program: Program, serving: Serving | None) -> Program:
    """The program with the configuration and the options of the cell that serves it."""
    if serving is None:
        return program
    options = {name: _from(program.cwd, name, value) for name, value in serving.options.items()}
    return replace(
        program,
        name=str(options.get("name") or program.name),
        layers=(*program.layers, *serving.layers),
        options=options,
        options_origin=serving.where,
        notes=serving.notes,
    )


def _from(folder: Path, option: str, value: Any) -> Any:
    """The value of an option. A relative path of a file is relative to the folder of the notebook."""
    return str(folder / value) if option in _PATHS and isinstance(value, str | Path) else value


def _trees(cells: Sequence[Cell]) -> Iterator[tuple[Cell, ast.Module]]:
    for cell in cells:
        with suppress(SyntaxError):
            yield cell, ast.parse(ipython_to_python(cell.text))


def _links(cells: Sequence[Cell]) -> Iterator[tuple[str, str, str]]:
    """(source, target, place) of each `A.link(B).link(C)` that is a statement or is assigned to a name."""
    for cell, tree in _trees(cells):
        for statement in tree.body:
            if isinstance(statement, ast.Expr | ast.Assign):
                yield from ((a, b, f"{cell.label}, line {statement.lineno}") for a, b in _chain(statement.value))


def _chain(node: ast.expr) -> list[tuple[str, str]]:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "link"):
        return []
    before = node.func.value
    earlier = _chain(before)
    source = earlier[-1][1] if earlier else before.id if isinstance(before, ast.Name) else ""
    target = node.args[0].id if node.args and isinstance(node.args[0], ast.Name) else ""
    return [*earlier, (source, target)] if source and target else earlier


def _root(cells: Sequence[Cell], defined: Mapping[str, str], place: str) -> str:
    """The only service that no `depends(…)` names, by its class or by a string."""
    arguments = [
        node.args[0]
        for _, tree in _trees(cells)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name | ast.Attribute)
        and getattr(node.func, "id", getattr(node.func, "attr", "")) == "depends"
        and node.args
    ]
    dependencies = {defined.get(one.id, one.id) for one in arguments if isinstance(one, ast.Name)}
    dependencies |= {str(one.value) for one in arguments if isinstance(one, ast.Constant)}
    classes = {name: cls for cls, name in defined.items()}
    return classes[only_root(classes, dependencies, place)]
