"""GraphSpec: graph, code digests and effective configuration as one plain value, the thing that is deployed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from dynamo_nb.drawing.picture import Arrow, Node, Picture
from dynamo_nb.sdk.service_config import COMMON, SERVICE_ARGS


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EndpointSpec(_Value):
    """An endpoint of a service. input/output: JSON schemas, empty where a type has none."""

    name: str
    stream: bool
    transports: list[Literal["default", "http"]]
    http_method: str = "POST"
    retry: bool = True
    input: dict[str, Any] = Field(default_factory=dict)
    output: dict[str, Any] = Field(default_factory=dict)


class ServiceSpec(_Value):
    """A service as it is deployed.

    target: `module:Class` to import. digest: of the modules that the class needs.
    bindings: attribute of each dependency to the service it is connected to, None where it is not active.
    reconfigures: whether running workers can take other configuration.
    The rest: ServiceArgs as they are in effect.
    """

    name: str
    namespace: str
    target: str
    digest: str = ""
    running: bool = True
    enabled: bool = True
    workers: int = 1
    gpu: float = 0
    cpu: str | None = None
    memory: str | None = None
    image: str | None = None
    envs: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    traffic: dict[str, Any] = Field(default_factory=dict)
    endpoints: list[EndpointSpec] = Field(default_factory=list)
    bindings: dict[str, str | None] = Field(default_factory=dict)
    reconfigures: bool = False

    @property
    def http(self) -> bool:
        return any("http" in endpoint.transports for endpoint in self.endpoints)


class EdgeSpec(_Value):
    """See `graph.Edge`."""

    source: str
    attribute: str
    target: str
    active: bool
    optional: bool = False


class GraphSpec(_Value):
    """A deployment as one value.

    code: path of each module, relative to the code's folder, to its sha256. config: what workers get as
    DYNAMO_SERVICE_CONFIG. origins: path of each configured value to where it comes from.
    """

    schema_version: Literal["dynamo_nb/v1"] = "dynamo_nb/v1"
    name: str
    entry: str
    services: dict[str, ServiceSpec]
    edges: list[EdgeSpec]
    code: dict[str, str] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    origins: dict[str, str] = Field(default_factory=dict)

    @property
    def started(self) -> dict[str, ServiceSpec]:
        """The services that get workers, dependencies before dependants."""
        return {name: s for name, s in self.services.items() if s.running and s.enabled}

    def awaited(self, service: str) -> set[str]:
        """The services that have to be there before this one is built."""
        return {e.target for e in self.edges if e.source == service and e.active and not e.optional}

    def fingerprint(self, service: str) -> str:
        """Changes exactly when a worker of the service would run something else: code, configuration or edges."""
        config = _without_workers(self.config.get(service, {}))
        return _digest([self.identity(service), config, self.config.get(COMMON, {})])

    def identity(self, service: str) -> str:
        """Changes when a worker would run other code, or have other edges, resources or environment."""
        spec = self.services[service]
        local = [self.fingerprint(t) for t in spec.bindings.values() if t and not self.services[t].enabled]
        own = spec.model_dump(exclude={"workers", "labels", "running"})
        # Also of those it is not linked to: code may call them by their address. Not of all, so that a service can be
        # added to a graph without a new start of the others.
        declared = [edge.target for edge in self.edges if edge.source == service and edge.target in self.services]
        namespaces = {name: self.services[name].namespace for name in sorted(declared)}
        return _digest([own, namespaces, local])

    def with_workers(self, workers: Mapping[str, int]) -> GraphSpec:
        """The same with other numbers of workers for the services named."""
        services, config = dict(self.services), dict(self.config)
        for name, count in workers.items():
            if services[name].running and services[name].workers != count:
                services[name] = services[name].model_copy(update={"workers": count})
                own = dict(config.get(name, {}))
                config[name] = {**own, SERVICE_ARGS: {**own.get(SERVICE_ARGS, {}), "workers": count}}
        return self.model_copy(update={"services": services, "config": config})

    def picture(self) -> Picture:
        discovered = dict.fromkeys(n for n in (self.entry, *(e.target for e in self.edges)) if n in self.services)
        nodes = tuple(
            Node(
                name=s.name,
                namespace=s.namespace,
                workers=s.workers if s.running else 1,
                resources={k: v for k, v in (("gpu", s.gpu), ("cpu", s.cpu), ("memory", s.memory)) if v},
                endpoints=tuple(e.name for e in s.endpoints),
                running=s.running,
                local=not s.enabled,
                entry=s.name == self.entry,
            )
            for s in map(self.services.__getitem__, discovered)
        )
        return Picture(nodes, tuple(Arrow(e.source, e.target, e.attribute, e.active) for e in self.edges), self.name)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _without_workers(config: Mapping[str, Any]) -> dict[str, Any]:
    args = {key: value for key, value in config.get(SERVICE_ARGS, {}).items() if key not in {"workers", "labels"}}
    return {**config, SERVICE_ARGS: args}
