"""A snapshot of a plan: plain data from which another process restores the plan, after a kernel restart for one.

The supervisor holds the snapshot in memory only, since cells and configuration may contain secrets. The code is in the
deployment's state directory. Classes are loaded from there when they are first used: they may import large libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import msgspec

from dynamo_nb.config.effective import EffectiveConfig
from dynamo_nb.config.layers import Layer, layer_data
from dynamo_nb.config.yaml_layer import layer_from
from dynamo_nb.control.release import Release
from dynamo_nb.control.state_dir import writing
from dynamo_nb.deployment.plan import Plan
from dynamo_nb.deployment.restored_services import RestoredArguments, RestoredDefinitions
from dynamo_nb.graph.graph import Edge, Graph
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.program import CellsSource, Program, Source
from dynamo_nb.sdk.service_config import COMMON
from dynamo_nb.source import CodeTree, Module, verify
from dynamo_nb.source.source_map import write_source_maps


class CodeIndex(msgspec.Struct, frozen=True, kw_only=True):
    """A CodeTree without the texts of its modules. `modules` has their names and paths."""

    digest: str
    modules: tuple[tuple[str, str], ...]
    targets: dict[str, str]
    closures: dict[str, tuple[str, ...]]
    digests: dict[str, str]
    notes: tuple[str, ...]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A plan without its GraphSpec and the texts of its code.

    Attributes:
        source: Source of the program.
        cwd: Working directory of workers.
        layers: Configuration that the user passed, see `layer_data`.
        namespace: As in `Plan`.
        only: As in `Plan`.
        config: The effective configuration, see `EffectiveConfig.as_data`.
        code: The index of the code.
    """

    source: Source
    cwd: str
    layers: list[dict[str, Any]]
    namespace: str | None
    only: str
    config: dict[str, Any]
    code: CodeIndex

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Returns the snapshot of a plan."""
        code = plan.code
        return cls(
            source=plan.program.source,
            cwd=str(plan.program.cwd),
            layers=[layer_data(layer) for layer in plan.layers],
            namespace=plan.namespace,
            only=plan.only,
            config=plan.config.as_data(),
            code=CodeIndex(
                digest=code.digest,
                modules=tuple((module.name, module.path) for module in code.modules),
                targets=dict(code.targets),
                closures=dict(code.closures),
                digests=dict(code.digests),
                notes=code.notes,
            ),
        )

    def as_data(self) -> dict[str, Any]:
        """Returns plain data that JSON holds."""
        data = msgspec.structs.asdict(self)
        return data | {"source": msgspec.to_builtins(self.source), "code": msgspec.to_builtins(self.code)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `as_data` returned."""
        return msgspec.convert(data, cls)

    def user_layers(self) -> list[Layer]:
        """Returns the configuration that the user passed. Files are read again; raises ConfigError if that fails."""
        return [layer_from(data) for data in self.layers]

    def plan(self, folder: Path, spec: GraphSpec) -> Plan:
        """Restores the plan.

        Args:
            folder: State directory of the deployment.
            spec: The GraphSpec of the plan.

        Raises:
            BundleError: The code in `folder` was altered.
        """
        code_folder = code_folder_of(folder, self.code.digest)
        code = self._code(code_folder, spec)
        definitions = RestoredDefinitions(spec, code_folder, code)
        edges = tuple(Edge(e.source, e.attribute, e.target, e.active, e.optional) for e in spec.edges)
        in_notebook = self.source.known if isinstance(self.source, CellsSource) else ()
        known = frozenset({*spec.services, *spec.config, *in_notebook} - {COMMON})
        graph = Graph(spec.entry, definitions, edges, known)
        program = Program(spec.name, graph, lambda: code, None, Path(self.cwd), self.source)
        config = EffectiveConfig.from_data(self.config, lambda name: RestoredArguments(definitions, name, spec.config))
        return Plan(program, config, code, spec, self.user_layers(), self.namespace, self.only)

    def _code(self, folder: Path, spec: GraphSpec) -> CodeTree:
        verify(folder, spec.code)
        modules = (Module(name, path, (folder / path).read_bytes().decode()) for name, path in self.code.modules)
        index = self.code
        return CodeTree(tuple(modules), index.targets, index.closures, index.digests, index.notes)


def release_of(plan: Plan, folder: Path) -> Release:
    """Writes the code of a plan to the state directory of its deployment, and returns the release to apply.

    The code is written in any case, because files of a project may be changed while they are served, and a process that
    attaches later needs the code that runs.

    Raises:
        DeploymentError: The code cannot be written.
    """
    with writing():
        code_folder = plan.code.write(code_folder_of(folder, plan.code.digest))
        write_source_maps(plan.code.source_maps, code_folder)
    program = plan.program
    path = (str(code_folder), str(program.cwd)) if program.root is None else (str(program.root),)
    return Release(plan.spec, path, str(program.cwd), snapshot=Snapshot.of(plan).as_data())


def code_folder_of(folder: Path, digest: str) -> Path:
    """Returns the folder of the code with this digest in a deployment's state directory."""
    return folder / "code" / digest.removeprefix("sha256:")[:16]
