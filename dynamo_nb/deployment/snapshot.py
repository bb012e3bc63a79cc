"""What a deployment keeps of how it was made, so that another process can take it up.

The supervisor holds it as plain data, and in memory alone: cells and configuration may hold what is nobody's business.
The code stands in the deployment's folder. A plan that is made of them is the one that was applied; its classes are
loaded from that code when somebody first asks for one, as they may import much.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from dynamo_nb.config.constructor import constructor_arguments
from dynamo_nb.config.effective import EffectiveConfig
from dynamo_nb.config.layers import Layer, layer_data
from dynamo_nb.config.yaml_layer import layer_from
from dynamo_nb.deployment.notebook_seam import Notebook
from dynamo_nb.deployment.plan import Plan, Recipe, code_place
from dynamo_nb.errors import DefinitionError, TargetError
from dynamo_nb.graph.graph import Edge, Graph
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.program import (
    CellsSource,
    Program,
    Source,
    TargetSource,
    class_at,
    importing_from,
    live,
    placeholder,
    read_again,
)
from dynamo_nb.sdk.definition import ServiceDefinition, definition_of, is_service
from dynamo_nb.sdk.links import LinkBook, links_in
from dynamo_nb.sdk.origin import Origin
from dynamo_nb.sdk.service_config import COMMON
from dynamo_nb.source import Cell, CodeTree, Module, verify
from dynamo_nb.source.headers import CONFIG, config_layers, header_of


def memo(plan: Plan) -> dict[str, Any]:
    """All of a plan but its GraphSpec and the text of its code, as plain data that JSON holds."""
    code = plan.code
    return {
        "source": msgspec.to_builtins(plan.program.source),
        "cwd": str(plan.program.cwd),
        "layers": [layer_data(layer) for layer in plan.layers],
        "namespace": plan.namespace,
        "only": plan.only,
        "config": plan.config.as_data(),
        "code": {
            "digest": code.digest,
            "modules": [(module.name, module.path) for module in code.modules],
            "targets": dict(code.targets),
            "closures": dict(code.closures),
            "digests": dict(code.digests),
            "notes": code.notes,
        },
    }


def plan_of(folder: Path, spec: GraphSpec, memo: Mapping[str, Any]) -> Plan:
    """The plan that `memo` was made of. folder: the deployment's. Raises BundleError if its code was altered."""
    place = code_place(folder, memo["code"]["digest"])
    code = _code(place, spec, memo["code"])
    definitions = _Definitions(spec, place, code)
    edges = tuple(Edge(e.source, e.attribute, e.target, e.active) for e in spec.edges)
    source = _source(memo)
    listed = source.known if isinstance(source, CellsSource) else ()
    known = frozenset({*spec.services, *spec.config, *listed} - {COMMON})
    graph = Graph(spec.entry, definitions, edges, known)
    program = Program(spec.name, graph, lambda: code, None, Path(memo["cwd"]), source)
    config = EffectiveConfig.from_data(memo["config"], lambda name: _Arguments(definitions, name, spec.config))
    return Plan(program, config, code, spec, _layers(memo), memo["namespace"], memo["only"])


def recipe_of(plan: Plan, memo: Mapping[str, Any], notebook: Notebook | None) -> Recipe:
    """How to make the plan again.

    What was served from a file is read anew when asked to. What was served from cells is made of the cells of
    `notebook` once they define its entry, and of what is kept until then.
    """
    source = _source(memo)

    def recipe(program: Any, follows: Any) -> Recipe:
        return Recipe(program, lambda: _layers(memo), memo["namespace"], memo["only"], follows=follows)

    if isinstance(source, TargetSource):
        return recipe(lambda: read_again(source), lambda: False)
    past = _Past.of(source)

    def entry() -> type | None:
        found = notebook.names.get(source.entry) if notebook is not None else None
        return found if is_service(found) else None

    def program() -> Program:
        cells = past.cells_with(notebook)
        cls = entry()
        if notebook is None or cls is None:
            return replace(plan.program, layers=config_layers(cell for cell in cells if cell.failed_at is None))
        made = live(cls, notebook.names, cells, source.name, past.links_with(notebook))
        # Configuration speaks of services whose cells have not run again.
        return replace(made, graph=replace(made.graph, known=made.graph.known | {*source.known}))

    def follows() -> bool:
        if entry() is None:
            return False
        try:
            program()
        except DefinitionError:  # a service that is named by a text, say, and whose cell comes later
            return past.is_over(notebook)
        return True

    return recipe(program, follows)


@dataclass(frozen=True)
class _Past:
    """What a notebook had run before its kernel was another one: in force until it is said anew.

    A cell that runs again takes the place of its earlier self, so that a notebook that has been run again in part is
    all that it was, and what was changed. Links and configuration hold on as long as their cells have not run.
    """

    cells: Sequence[Cell]
    links: Sequence[tuple[str, str, Origin]]

    @classmethod
    def of(cls, source: CellsSource) -> _Past:
        return cls(source.cells, [(a, b, Origin(key, place)) for a, b, key, place in source.links])

    def is_over(self, notebook: Notebook | None) -> bool:
        """Whether every cell has run again."""
        now = {cell.key for cell in notebook.cells()} if notebook is not None else set()
        return all(cell.key in now for cell in self.cells)

    def cells_with(self, notebook: Notebook | None) -> list[Cell]:
        now = {cell.key: cell for cell in notebook.cells()} if notebook is not None else {}
        deleted = notebook.deleted if notebook is not None else ()
        past = {
            cell.key: cell
            for cell in self.cells
            if cell.cell_id not in deleted or header_of(cell.text, CONFIG) is None or cell.key in now
        }
        if self.is_over(notebook):
            return list(now.values())
        return [*(now.get(key, cell) for key, cell in past.items()), *(c for k, c in now.items() if k not in past)]

    def links_with(self, notebook: Notebook) -> LinkBook:
        """The links that the notebook has made, and of those before the ones of services that it has not linked."""
        made, both = links_in(notebook.names), LinkBook()
        for source, target in made:
            if (origin := made.origin(source, target)) is not None:
                both.add(source, target, origin, made.classes.get(target))
        ran = {cell.key for cell in notebook.cells()}
        for source, target, origin in self.links:
            if not made.targets(source) and origin.key not in ran:
                both.add(source, target, origin)
        return both


def _source(memo: Mapping[str, Any]) -> Source:
    return msgspec.convert(memo["source"], TargetSource | CellsSource)


def _layers(memo: Mapping[str, Any]) -> list[Layer]:
    return [layer_from(data) for data in memo["layers"]]


def _code(place: Path, spec: GraphSpec, known: Mapping[str, Any]) -> CodeTree:
    verify(place, spec.code)
    modules: Iterable[tuple[str, str]] = known["modules"]
    return CodeTree(
        tuple(Module(name, path, (place / path).read_bytes().decode()) for name, path in modules),
        known["targets"],
        {service: tuple(names) for service, names in known["closures"].items()},
        known["digests"],
        tuple(known["notes"]),
    )


class _Definitions(Mapping[str, ServiceDefinition]):
    """The services of a GraphSpec by name, each loaded from the code when it is first asked for."""

    def __init__(self, spec: GraphSpec, place: Path, code: CodeTree) -> None:
        self._spec, self._place, self._code = spec, place, code
        self._found: dict[str, ServiceDefinition] = {}
        self._modules: dict[str, ModuleType] = {}
        running = [name for name, service in spec.services.items() if service.running]
        # In the order of discovery, which `assemble` turns round for those that do not run.
        self._names = [*running, *(name for name in reversed(list(spec.services)) if name not in running)]

    def __getitem__(self, name: str) -> ServiceDefinition:
        if name not in self._found:
            self._found[name] = definition_of(self._load(name))
        return self._found[name]

    def _load(self, name: str) -> type:
        known = self._spec.services[name]
        if name not in self._code.targets:
            return placeholder(known)
        try:
            with importing_from(self._place, self._code, self._modules):
                return class_at(self._code.targets[name])
        except Exception as error:  # whatever the user's modules raise here, where their engine may be missing
            raise TargetError(
                f"the code of {name} cannot be imported here: {type(error).__name__}: {error}",
                where=f"{self._code.targets[name]}, {self._place}",
                remedy="attach in an environment that has what it imports",
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Arguments(Mapping[str, Any]):
    """The arguments of a service's constructor, made when they are first asked for: they need its class."""

    def __init__(self, definitions: _Definitions, name: str, config: Mapping[str, Any]) -> None:
        self._definitions, self._name, self._config = definitions, name, config

    @cached_property
    def _made(self) -> dict[str, Any]:
        return constructor_arguments(self._definitions[self._name], self._config)

    def __getitem__(self, key: str) -> Any:
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)
