"""A plan: a program with its configuration, and what follows from both. Nothing runs yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dynamo_nb.config.effective import EffectiveConfig, resolve
from dynamo_nb.config.layers import Layer, env_layer
from dynamo_nb.contract import Mismatch, ServiceEdges, mismatches
from dynamo_nb.errors import DeploymentError, suggestion
from dynamo_nb.graph.assemble import assemble
from dynamo_nb.graph.spec import GraphSpec, ServiceSpec
from dynamo_nb.program import Program
from dynamo_nb.source import CodeTree


@dataclass(frozen=True)
class Plan:
    """A program with its configuration, its code and its GraphSpec.

    Attributes:
        program: The program to serve.
        config: The effective configuration.
        code: The modules of the services that run.
        spec: The graph to deploy.
        layers: Configuration that a user passed, lowest first.
        namespace: Namespace of the whole graph; None for the namespaces in the code.
        only: The one service to start; "" for all.
    """

    program: Program
    config: EffectiveConfig
    code: CodeTree
    spec: GraphSpec
    layers: Sequence[Layer] = ()
    namespace: str | None = None
    only: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes about values that workers do not have, unread or unknown configuration, and failing calls."""
        return (*self.code.notes, *self.program.notes, *self.config.notes(), *map(str, self.mismatches))

    @cached_property
    def mismatches(self) -> tuple[Mismatch, ...]:
        """Calls between the services that fail, found in their source."""
        services = self.spec.services
        targets = {name: one.bindings for name, one in services.items() if one.running}
        return mismatches(self.code, ServiceEdges(targets, {name for name, one in services.items() if not one.enabled}))

    @classmethod
    def of(cls, program: Program, layers: Sequence[Layer], namespace: str | None = None, only: str = "") -> Plan:
        """Plans a program; the arguments are the attributes of the same names.

        Raises:
            ConfigError: With all faults of the configuration.
            SourceError: With all faults of the code.
            DeploymentError: The graph does not start `only`.
            TargetError: A service to start imports a library that is not installed.
        """
        graph = program.graph
        namespace = program.options.get("namespace") if namespace is None else namespace
        definitions = [graph.services[name] for name in graph.running]
        known = set(graph.services) | graph.known
        config = resolve(definitions, [env_layer(), *program.layers, *layers], known=known, namespace=namespace)
        code = program.code()
        spec = assemble(graph, config, code, program.name)
        if only:
            spec = _with_one_service(spec, only)
        for name, service in spec.services.items():
            if name in program.absent and service.running and (service.workers or not service.enabled):
                raise program.absent[name]
        return cls(program, config, code, spec, layers, namespace, only)


def _with_one_service(spec: GraphSpec, only: str) -> GraphSpec:
    """The graph in which other services run elsewhere, except those that run inside their callers."""
    if only not in spec.started:
        raise DeploymentError(f"the graph does not start {only}", remedy=suggestion(only, spec.started))

    def planned(name: str, service: ServiceSpec) -> ServiceSpec:
        return service if name == only or not service.enabled else service.model_copy(update={"running": False})

    return spec.model_copy(update={"services": {name: planned(name, s) for name, s in spec.services.items()}})
