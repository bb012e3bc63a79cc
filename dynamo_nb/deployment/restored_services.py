"""The classes and constructor arguments of a restored plan, loaded from its code when they are first used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from dynamo_nb.config.constructor import constructor_arguments
from dynamo_nb.errors import TargetError
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.program import class_at, importing_from, placeholder
from dynamo_nb.sdk.definition import ServiceDefinition, definition_of
from dynamo_nb.source import CodeTree


class RestoredDefinitions(Mapping[str, ServiceDefinition]):
    """The services of a GraphSpec, by name.

    Args:
        spec: The GraphSpec.
        folder: Contains the code.
        code: Names the modules.
    """

    def __init__(self, spec: GraphSpec, folder: Path, code: CodeTree) -> None:
        self._spec, self._folder, self._code = spec, folder, code
        self._loaded: dict[str, ServiceDefinition] = {}
        self._modules: dict[str, ModuleType] = {}
        running = [name for name, service in spec.services.items() if service.running]
        # `assemble` reverses services that do not run. From this order it makes the same GraphSpec again.
        self._names = [*running, *(name for name in reversed(list(spec.services)) if name not in running)]

    def __getitem__(self, name: str) -> ServiceDefinition:
        if name not in self._loaded:
            self._loaded[name] = definition_of(self._load(name))
        return self._loaded[name]

    def _load(self, name: str) -> type:
        known = self._spec.services[name]
        if name not in self._code.targets:
            return placeholder(known)
        try:
            with importing_from(self._folder, self._code, self._modules):
                return class_at(self._code.targets[name])
        except Exception as error:  # the user's modules may raise anything, such as for a library that is missing here
            raise TargetError(
                f"the code of {name} cannot be imported here: {type(error).__name__}: {error}",
                where=f"{self._code.targets[name]}, {self._folder}",
                remedy="attach in an environment with the libraries of this service",
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class RestoredArguments(Mapping[str, Any]):
    """The arguments of a service's constructor. They depend on its class.

    Args:
        definitions: The services.
        name: Name of the service.
        config: Configuration of all services.
    """

    def __init__(self, definitions: RestoredDefinitions, name: str, config: Mapping[str, Any]) -> None:
        self._definitions, self._name, self._config = definitions, name, config

    @cached_property
    def _arguments(self) -> dict[str, Any]:
        return constructor_arguments(self._definitions[self._name], self._config)

    def __getitem__(self, key: str) -> Any:
        return self._arguments[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arguments)

    def __len__(self) -> int:
        return len(self._arguments)
