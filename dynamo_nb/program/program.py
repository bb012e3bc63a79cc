"""What is to be served: `module:Service`, a file, a saved notebook, a bundle, or the classes of this very process.

Each of them comes down to a Graph and the modules of its services; from there on nothing knows which of them it was.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from dynamo_nb.bundle import CODE_FOLDER, CONFIG_FILE, GRAPH_FILE, read_code, read_spec
from dynamo_nb.config.layers import Layer
from dynamo_nb.config.yaml_layer import yaml_layer
from dynamo_nb.errors import DynamoError, LinkError, TargetError, suggestion
from dynamo_nb.graph.graph import Graph
from dynamo_nb.graph.spec import ServiceSpec
from dynamo_nb.sdk.context import import_services
from dynamo_nb.sdk.definition import ServiceDefinition, definition_of, is_service
from dynamo_nb.sdk.links import LinkBook, links_in
from dynamo_nb.sdk.origin import Origin, temporary_cell_finder
from dynamo_nb.sdk.service import service
from dynamo_nb.sdk.service_config import COMMON
from dynamo_nb.source import (
    Cell,
    CodeTree,
    read_notebook,
    services_in,
    slice_modules,
    slice_services,
)
from dynamo_nb.source.files import drop_stale_bytecode
from dynamo_nb.source.headers import config_layers
from dynamo_nb.source.source_map import SourceMap, locate

NOTEBOOK = ".ipynb"

_DEPENDANT = """\
from dynamo_nb import depends as _depends
from dynamo_nb import service as _service


@_service
class _Dependant:
    dependency = _depends({})
"""
_CELL = re.compile(r"# (cell \d+)")
"""Above what a module has from a cell."""
_KEPT: list[tempfile.TemporaryDirectory[str]] = []
"""Folders of modules that this process has imported; tracebacks show their lines. Removed at exit."""


@dataclass(frozen=True)
class Program:
    """A graph and where its code is.

    name: of the deployment. code: gives the modules of the services that run. root: the folder to import them from
    as they are, None for code that has to be written out first. cwd: the working directory of workers.
    layers: configuration that it brings along, which stands under what a person names. source: plain data from which
    another process can make it again (`kept` knows how). absent: services of which only the interface is here, since
    something that they import is not installed: they can only run elsewhere.
    """

    name: str
    graph: Graph
    code: Callable[[], CodeTree]
    root: Path | None
    cwd: Path
    layers: Sequence[Layer] = field(default=())
    source: Mapping[str, Any] = field(default_factory=dict)
    absent: Mapping[str, DynamoError] = field(default_factory=dict)


def find(target: str, working_dir: Path | None = None) -> Program:
    """The program that `module:Service`, `file.py:Service`, `notebook.ipynb:Service` or a bundle's folder names.

    Without `:Service` there must be one service that no other depends on. Raises TargetError that says what there is.
    """
    cwd = (working_dir or Path.cwd()).resolve()
    return replace(_found(target, cwd), source={"target": target, "cwd": str(cwd)})


def _found(target: str, cwd: Path) -> Program:
    place, _, service = target.rpartition(":") if ":" in target else (target, "", "")
    path = cwd / place
    if (path / GRAPH_FILE).is_file():
        return bundle(path)
    if place.endswith(NOTEBOOK):
        return notebook(path, service)
    if place.endswith(".py"):
        if not path.is_file():
            remedy = "correct the path, or set --working-dir"
            raise TargetError(f"there is no file {place}", where=str(cwd), remedy=remedy)
        return _module(path.stem, service, path.parent, cwd, path)
    if path.is_dir():
        remedy = f"a bundle's folder has a {GRAPH_FILE}; `dynamo export` writes one"
        raise TargetError(f"{place} is no bundle", where=str(path), remedy=remedy)
    return _module(place, service, cwd, cwd, None)


def _module(name: str, service: str, root: Path, cwd: Path, file: Path | None) -> Program:
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    drop_stale_bytecode(name, root)
    try:
        module = import_services(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            remedy = "write module:Service, path/file.py:Service or notebook.ipynb:Service, or set --working-dir"
            raise TargetError(f"there is no module {name!r}", where=str(root), remedy=remedy) from None
        raise _cannot_be_imported(name, root, error) from error
    except DynamoError:
        raise
    except Exception as error:
        raise _cannot_be_imported(name, root, error) from error
    if file is not None and Path(module.__file__ or "").resolve() != file:
        raise TargetError(
            f"another module is named {name!r}", where=f"{module.__file__} hides {file}", remedy="rename the file"
        )
    namespace = vars(module)
    graph = Graph.of(_entry(namespace, service, name), namespace)
    return Program(graph.entry, graph, lambda: _of_modules(graph, root), root, cwd)


def _cannot_be_imported(
    name: str, root: Path, error: Exception, source_maps: Mapping[str, SourceMap] = {}
) -> TargetError:
    """The user's own line at which an import failed; the frames of the import machinery say nothing.

    source_maps: by file.
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


def _entry(namespace: Mapping[str, Any], service: str, place: str) -> type:
    """The class to begin at."""
    found: dict[str, type] = {definition_of(v).name: v for v in namespace.values() if is_service(v)}
    if service:
        entry: type | None = namespace.get(service) if is_service(namespace.get(service)) else found.get(service)
        if entry is None:
            remedy = suggestion(service, found)
            raise TargetError(f"{place} has no service {service!r}", where=f"{place}:{service}", remedy=remedy)
        return entry
    below = {d.target_name for cls in found.values() for d in definition_of(cls).dependencies.values()}
    return found[_only_root(found, below, place)]


def _only_root(names: Iterable[str], below: Container[str], place: str) -> str:
    """The one service that no other depends on. Raises TargetError that says which there are."""
    roots = [name for name in names if name not in below]
    if len(roots) != 1:
        what = f"several services could be the entry: {', '.join(roots)}" if roots else "it has no service to begin at"
        first = next(iter([*roots, *names]), "Service")
        raise TargetError(f"{place}: {what}", where=place, remedy=f"name one: {place}:{first}")
    return roots[0]


def _of_modules(graph: Graph, root: Path) -> CodeTree:
    return slice_modules({name: _target(graph.services[name].cls) for name in graph.running}, root)


def _target(cls: type) -> str:
    """`module:Class` as a worker can import it; a script that runs as `__main__` goes by its file's name."""
    module = cls.__module__
    if module == "__main__":
        module = Path(sys.modules["__main__"].__file__ or "").stem
    return f"{module}:{cls.__qualname__}"


# --- this process ------------------------------------------------------------------------------------------------


def live(
    entry: type,
    namespace: Mapping[str, Any],
    cells: Sequence[Cell] | None,
    name: str = "",
    links: LinkBook | None = None,
) -> Program:
    """The graph of `entry` as this process has it now.

    cells: what a notebook has run; None for a script or module. links: instead of those that `namespace` made.
    """
    links = links_in(namespace) if links is None else links
    graph = Graph.of(entry, namespace, links=links)
    main = getattr(sys.modules["__main__"], "__file__", None)
    if cells is None:
        if main is None and any(graph.services[n].cls.__module__ == "__main__" for n in graph.running):
            remedy = "in a notebook run %load_ext dynamo_nb first; elsewhere put the services into a file"
            raise TargetError(
                "the services stand in no file that workers could import", where=entry.__name__, remedy=remedy
            )
        root = Path(main).resolve().parent if main and entry.__module__ == "__main__" else _root_of(entry)
        # The module that serves, whose links count, rather than the one that defines the class.
        module = namespace.get("__name__", entry.__module__)
        asking = Path(main).stem if main and module == "__main__" else module
        source: dict[str, Any] = {
            "target": f"{asking}:{graph.entry}",
            "cwd": str(_above(module, namespace.get("__file__") or main or root)),
            "name": name,
            "root": str(root),
            "workers_cwd": str(Path.cwd()),
        }
        return _from_root(Program(name or graph.entry, graph, CodeTree, root, Path.cwd(), source=source), root)

    def code() -> CodeTree:
        here = {n: graph.services[n].cls for n in graph.running if graph.services[n].cls.__module__ == "__main__"}
        imported = {n: _target(graph.services[n].cls) for n in graph.running if n not in here}
        tree = slice_services(cells, [c.__name__ for c in here.values()], live=namespace, root=Path.cwd())
        tree = _by_service(tree, {cls.__name__: n for n, cls in here.items()})
        return tree | slice_modules(imported, Path.cwd()) if imported else tree

    made = [(a, b, origin.key, origin.location) for a, b in links if (origin := links.origin(a, b)) is not None]
    source = {
        "entry": entry.__name__,
        "cells": [asdict(cell) for cell in cells],
        "links": made,
        "known": sorted(graph.known),
        "name": name,
    }
    layers = config_layers(cell for cell in cells if cell.failed_at is None)
    return Program(name or graph.entry, graph, code, None, Path.cwd(), layers, source)


def again(source: Mapping[str, Any]) -> Program:
    """The program that `Program.source` speaks of, read anew from its files. Raises what `find` does."""
    program = find(source["target"], Path(source["cwd"]))
    if "root" not in source:
        return program
    name, cwd = source["name"] or program.name, Path(source["workers_cwd"])
    return _from_root(replace(program, name=name, cwd=cwd, source=source), Path(source["root"]))


def _from_root(program: Program, root: Path) -> Program:
    """The same with the modules of its services taken from the files under `root`."""
    return replace(program, root=root, code=lambda: _of_modules(program.graph, root))


def _root_of(cls: type) -> Path:
    """The folder from which a class's module was imported."""
    return _above(cls.__module__, sys.modules[cls.__module__].__file__ or ".")


def _above(module: str, file: str | Path) -> Path:
    path = Path(file).resolve()
    depth = module.count(".") + (path.name == "__init__.py")
    return path.parents[depth]


def _by_service(tree: CodeTree, names: Mapping[str, str]) -> CodeTree:
    """The tree with its keys changed from class names to service names."""
    return CodeTree(
        tree.modules,
        {names[k]: v for k, v in tree.targets.items()},
        {names[k]: v for k, v in tree.closures.items()},
        {names[k]: v for k, v in tree.digests.items()},
        tree.notes,
    )


# --- a saved notebook --------------------------------------------------------------------------------------------


def notebook(path: Path, service: str) -> Program:
    """The graph of a saved notebook. Only the definitions that the graph needs are executed, nothing else of it."""
    cells = read_notebook(path)
    defined = services_in(cells)
    if not defined:
        raise TargetError(f"{path.name} defines no service", where=str(path), remedy="decorate a class with @service")
    if service and service not in defined:
        remedy = suggestion(service, defined)
        raise TargetError(f"{path.name} has no service {service!r}", where=f"{path}:{service}", remedy=remedy)
    # The classes are made from the very modules that workers will import.
    loaded: dict[str, type] = {}
    absent: dict[str, DynamoError] = {}

    def load(name: str) -> type:
        if name not in loaded:
            tree = slice_services(cells, [name], root=path.parent)
            try:
                loaded[name] = _made(tree, tree.targets[name])
            except TargetError as error:
                if not isinstance(error.__cause__, ModuleNotFoundError):
                    raise
                absent[defined[name]], loaded[name] = error, interface(name)
        return loaded[name]

    def interface(name: str) -> type:
        """What a dependency needs of a class: nothing of what the service itself imports."""
        tree = slice_services([*cells, Cell(_DEPENDANT.format(name), "a dependency")], ["_Dependant"], root=path.parent)
        return _made(tree, tree.targets["_Dependant"].replace(":_Dependant", f":{name}"))

    def whole(definition: ServiceDefinition) -> type | None:
        return load(definition.cls.__name__) if definition.cls.__name__ in defined else None

    def graph_of() -> Graph:
        book, links = LinkBook(), [*_links(cells)]
        # What fills an interface is named by nothing but the link.
        filling = {target: load(target) for _, target, _ in links if target in defined}
        for source, target, place in links:
            if (name := defined.get(source, source)) not in absent:  # an interface has no dependencies to link
                book.add(name, defined.get(target, target), Origin(place, place), filling.get(target))
        named = {name: partial(interface, cls) for cls, name in defined.items()}
        return Graph.of(load(entry), {}, links=book, load=whole, named=named)

    entry = service or _root(cells, defined, path.name)
    load(entry)
    if defined[entry] in absent:
        raise absent[defined[entry]]
    graph = _settled(graph_of, absent)

    def code() -> CodeTree:
        names = {graph.services[n].cls.__name__: n for n in graph.running}
        return _by_service(slice_services(cells, list(names), root=path.parent), names)

    return Program(path.stem, graph, code, None, path.parent, config_layers(cells), absent=absent)


def _settled(build: Callable[[], Graph], absent: Mapping[str, DynamoError]) -> Graph:
    """The graph, built again if it turned out meanwhile that a service whose links it has is absent."""
    while True:
        known = len(absent)
        try:
            return build()
        except LinkError as error:
            if len(absent) == known:
                raise next(iter(absent.values()), error) from None


def _trees(cells: Sequence[Cell]) -> Iterator[tuple[Cell, ast.Module]]:
    from dynamo_nb.source.statements import ipython_to_python

    for cell in cells:
        with contextlib.suppress(SyntaxError):
            yield cell, ast.parse(ipython_to_python(cell.text))


def _links(cells: Sequence[Cell]) -> Iterator[tuple[str, str, str]]:
    """(source, target, place) of each `A.link(B).link(C)` that stands by itself or is assigned."""
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


def _made(tree: CodeTree, target: str) -> type:
    """The class that a target in a tree of modules names."""
    folder = tempfile.TemporaryDirectory(prefix="dynamo-")
    _KEPT.append(folder)
    written = tree.write(Path(folder.name, "code"))

    def cell_of(frame: FrameType) -> Origin | None:
        file = Path(frame.f_code.co_filename)
        if not file.is_relative_to(written):
            return None
        above = reversed(file.read_text(encoding="utf-8").splitlines()[: frame.f_lineno])
        label = next((found[1] for line in above if (found := _CELL.match(line))), None)
        return Origin(label, label) if label is not None else None

    with importing_from(written, tree), temporary_cell_finder(cell_of):
        try:
            return class_at(target)
        except DynamoError:
            raise
        except Exception as error:
            source_maps = {str(written / path): found for path, found in tree.source_maps.items()}
            raise _cannot_be_imported(target.partition(":")[2], written, error, source_maps) from error


def _root(cells: Sequence[Cell], defined: Mapping[str, str], place: str) -> str:
    """The one service that no `depends(…)` names, be it by its class or by a text."""
    arguments = [
        node.args[0]
        for _, tree in _trees(cells)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name | ast.Attribute)
        and getattr(node.func, "id", getattr(node.func, "attr", "")) == "depends"
        and node.args
    ]
    below = {defined.get(one.id, one.id) for one in arguments if isinstance(one, ast.Name)}
    below |= {str(one.value) for one in arguments if isinstance(one, ast.Constant)}
    by_name = {name: cls for cls, name in defined.items()}
    return by_name[_only_root(by_name, below, place)]


@contextlib.contextmanager
def importing_from(folder: Path, tree: CodeTree, loaded: dict[str, ModuleType] | None = None) -> Iterator[None]:
    """Imports the tree's modules from `folder`, whatever this process has under their names; it keeps what it had.

    loaded: those of them that were imported before, which this adds to.
    """
    names = {".".join(parts[: n + 1]) for m in tree.modules for parts in [m.name.split(".")] for n in range(len(parts))}
    held = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.modules.update(loaded or {})
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a bundle is read, not written to
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
        sys.modules.update(held)


def class_at(target: str) -> type:
    """The class that `module:Class` names, with its text: `inspect` cannot find it once the module has gone."""
    module, _, name = target.partition(":")
    cls: type = getattr(importlib.import_module(module), name)
    for kind in cls.__mro__:
        if kind.__module__.partition(".")[0] == module.partition(".")[0]:
            with contextlib.suppress(OSError, TypeError):
                kind.__dynamo_source__ = inspect.getsource(kind)  # type: ignore[attr-defined]
    return cls


# --- a bundle ----------------------------------------------------------------------------------------------------


def bundle(folder: Path) -> Program:
    """The graph of an exported bundle, its code checked against the digests.

    Raises BundleError if a file was altered or is missing.
    """
    folder = folder.resolve()
    spec = read_spec(folder)
    tree = read_code(folder, spec)
    absent: dict[str, DynamoError] = {}
    loaded: dict[str, type] = {}

    def load(name: str) -> type:
        if name not in loaded:
            try:
                loaded[name] = class_at(tree.targets[name])
            except ModuleNotFoundError as error:
                absent[name] = _cannot_be_imported(name, folder / CODE_FOLDER, error)
                if name == spec.entry:
                    raise absent[name] from error
                loaded[name] = left_out(spec.services[name])
        return loaded[name]

    def graph_of() -> Graph:
        # What was active is written as links: an edge is active without one only where there is no choice.
        book = LinkBook()
        place = Origin(str(folder / GRAPH_FILE), GRAPH_FILE)
        filling = {edge.target: load(edge.target) for edge in spec.edges if edge.active}
        for edge in spec.edges:
            if edge.active and edge.source not in absent:
                book.add(edge.source, edge.target, place, filling[edge.target])
        return Graph.of(
            load(spec.entry),
            {},
            links=book,
            load=lambda d: load(d.name) if d.name in tree.targets else None,
            named={name: partial(left_out, known) for name, known in spec.services.items()},
        )

    with importing_from(folder / CODE_FOLDER, tree):
        graph = _settled(graph_of, absent)
    # Whole files came along with what runs, and may declare more than the bundle knows.
    graph = replace(
        graph,
        services={name: definition for name, definition in graph.services.items() if name in spec.services},
        edges=tuple(edge for edge in graph.edges if edge.source in graph.running),
        known=graph.known | set(spec.services) | (set(spec.config) - {COMMON}),
    )
    # Workers import a copy, so that exporting anew cannot change what a deployment runs.
    return Program(
        spec.name, graph, lambda: tree, None, folder, layers=[yaml_layer(folder / CONFIG_FILE)], absent=absent
    )


def left_out(known: ServiceSpec) -> type:
    """A service that is not started here and is known by its name alone: its code, or what that imports, is absent."""
    return service(dynamo={"name": known.name, "namespace": known.namespace})(type(known.name, (), {}))
