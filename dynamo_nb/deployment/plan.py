"""What a deployment is made from: a program with its configuration, and how to make it again after an edit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamo_nb.config.arguments import arguments_layer
from dynamo_nb.config.effective import EffectiveConfig, resolve
from dynamo_nb.config.layers import Layer, env_layer, mapping_layer
from dynamo_nb.config.yaml_layer import yaml_layer
from dynamo_nb.errors import ConfigError, DeploymentError, Problem, suggestion
from dynamo_nb.graph.assemble import assemble
from dynamo_nb.graph.spec import GraphSpec, ServiceSpec
from dynamo_nb.program import Program
from dynamo_nb.source import CodeTree
from dynamo_nb.source.source_map import write_source_maps

Config = str | Path | Mapping[str, Any] | Layer


@dataclass(frozen=True)
class Plan:
    """A program with its configuration: everything that a deployment is made from, before anything runs.

    layers, namespace, only: what was asked for beside the program.
    """

    program: Program
    config: EffectiveConfig
    code: CodeTree
    spec: GraphSpec
    layers: Sequence[Layer] = ()
    namespace: str | None = None
    only: str = ""

    @classmethod
    def of(cls, program: Program, layers: Sequence[Layer], namespace: str | None = None, only: str = "") -> Plan:
        """only: start this one service alone.

        Raises ConfigError or SourceError with every fault that was found, DeploymentError if `only` is not started,
        TargetError if what is started imports something that is not installed.
        """
        graph = program.graph
        definitions = [graph.services[name] for name in graph.running]
        known = set(graph.services) | graph.known
        config = resolve(definitions, [env_layer(), *program.layers, *layers], known=known, namespace=namespace)
        code = program.code()
        spec = assemble(graph, config, code, program.name)
        if only:
            if only not in spec.started:
                raise DeploymentError(f"the graph does not start {only}", remedy=suggestion(only, spec.started))
            services = {n: s if n == only or not s.enabled else _elsewhere(s) for n, s in spec.services.items()}
            spec = spec.model_copy(update={"services": services})
        for name, service in spec.services.items():
            if name in program.absent and service.running and (service.workers or not service.enabled):
                raise program.absent[name]
        return cls(program, config, code, spec, layers, namespace, only)

    def place(self, folder: Path) -> list[str]:
        """The entries of `sys.path` for workers.

        The code is written out under `folder` in any case: files of a project may be changed while they are served, and
        whoever attaches needs to know what is.
        """
        written = self.code.write(code_place(folder, self.code.digest))
        write_source_maps(self.code.source_maps, written)
        return [str(written), str(self.program.cwd)] if self.program.root is None else [str(self.program.root)]


def code_place(folder: Path, digest: str) -> Path:
    """Where a deployment keeps the code of this digest."""
    return folder / "code" / digest.removeprefix("sha256:")[:16]


def _elsewhere(service: ServiceSpec) -> ServiceSpec:
    return service.model_copy(update={"running": False})


@dataclass(frozen=True)
class Recipe:
    """How to make the plan again: after an edit, or with other configuration.

    added: goes over the layers. follows: whether what the plan is made from is there to be followed.
    """

    program: Callable[[], Program]
    layers: Callable[[], Sequence[Layer]]
    namespace: str | None = None
    only: str = ""
    added: Sequence[Layer] = ()
    follows: Callable[[], bool] = lambda: True

    def plan(self) -> Plan:
        return Plan.of(self.program(), [*self.layers(), *self.added], self.namespace, self.only)


def layers_of(configs: Sequence[Config], args: Sequence[str] = (), where: str = "serve(…)") -> list[Layer]:
    """Configuration as people give it, lowest first: YAML files, mappings, and command-line words.

    Raises ConfigError with the place of what cannot be read.
    """
    layers = []
    for config in configs:
        if isinstance(config, Layer):
            layers.append(config)
        elif isinstance(config, Mapping):
            layers.append(mapping_layer(config, where))
        elif isinstance(config, str | Path):
            layers.append(yaml_layer(config))
        else:
            problem = Problem(f"{config!r} is no configuration", origin=where)
            raise ConfigError([problem], remedy="give a YAML file's path, or a mapping such as {'Backend.suffix': '!'}")
    return [*layers, arguments_layer(args)] if args else layers
