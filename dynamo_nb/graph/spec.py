"""GraphSpec: graph, digests of the code and effective configuration as one plain value, which is deployed."""

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
    """An endpoint of a service.

    Attributes:
        name: name of the endpoint.
        stream: True if its answer is a stream.
        transports: transports by which it can be called.
        http_method: for HTTP.
        retry: True if a call may be sent to another worker after the first was lost before it answered anything.
        input: JSON schema of the arguments; empty if a type has none.
        output: JSON schema of the answer or of an item; empty if the type has none.
    """

    name: str
    stream: bool
    transports: list[Literal["default", "http"]]
    http_method: str = "POST"
    retry: bool = True
    input: dict[str, Any] = Field(default_factory=dict)
    output: dict[str, Any] = Field(default_factory=dict)


class ServiceSpec(_Value):
    """A service as it is deployed.

    Attributes:
        name: name of the service.
        namespace: namespace of the service.
        target: `module:Class` to import.
        digest: digest of the modules that the class needs.
        running: True if an active path reaches the service.
        enabled: False for a service that is built inside the worker of its dependant.
        workers: number of workers.
        gpu: GPUs of each worker, or a share of one.
        cpu: Kubernetes quantity of cores for each worker.
        memory: Kubernetes quantity of memory for each worker.
        image: container image.
        envs: environment variables.
        labels: labels for Kubernetes.
        traffic: `timeout` and `keep_alive` in seconds, where they are set; other keys have no effect.
        endpoints: its endpoints.
        bindings: attribute of each dependency to the connected service, or None if inactive.
        reconfigures: True if running workers can take another configuration.
        app: True if the service has an ASGI application.
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
    app: bool = False

    @property
    def http(self) -> bool:
        """True if the service answers over HTTP."""
        return self.app or any("http" in endpoint.transports for endpoint in self.endpoints)


class EdgeSpec(_Value):
    """See `graph.Edge`."""

    source: str
    attribute: str
    target: str
    active: bool
    optional: bool = False


class GraphSpec(_Value):
    """A deployment as one value.

    Attributes:
        schema_version: version of this format.
        name: name of the deployment.
        entry: name of the entry.
        services: services by name.
        edges: between the services.
        code: path of each module, relative to the code's folder, to its SHA-256.
        config: configuration for the workers, as in DYNAMO_SERVICE_CONFIG.
        origins: path of each configured value to its origin.
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
        """The services with workers, dependencies before dependants."""
        return {name: s for name, s in self.services.items() if s.running and s.enabled}

    def awaited(self, service: str) -> set[str]:
        """Returns the services that must be ready before a service is built.

        Args:
            service: The name of the service.

        Returns:
            The targets of its active dependencies that are not optional.
        """
        return {e.target for e in self.edges if e.source == service and e.active and not e.optional}

    def fingerprint(self, service: str) -> str:
        """Returns a digest that changes with everything that a worker runs with: code, configuration, edges.

        Args:
            service: The name of the service.

        Returns:
            The digest as text.
        """
        config = _without_workers(self.config.get(service, {}))
        return _digest([self.identity(service), config, self.config.get(COMMON, {})])

    def identity(self, service: str) -> str:
        """Returns a digest that changes with a worker's code, edges, resources or environment.

        Args:
            service: The name of the service.

        Returns:
            The digest as text.
        """
        spec = self.services[service]
        local = [self.fingerprint(t) for t in spec.bindings.values() if t and not self.services[t].enabled]
        own = spec.model_dump(exclude={"workers", "labels", "running"})
        # Inactive dependencies too: code may call them by their address. Not all services, so that a service can be
        # added to a graph without a restart of the others.
        declared = [edge.target for edge in self.edges if edge.source == service and edge.target in self.services]
        namespaces = {name: self.services[name].namespace for name in sorted(declared)}
        return _digest([own, namespaces, local])

    def with_workers(self, workers: Mapping[str, int]) -> GraphSpec:
        """Returns a copy with these numbers of workers. Services that do not run stay unchanged.

        Args:
            workers: The number of workers by service.

        Returns:
            The copy.
        """
        services, config = dict(self.services), dict(self.config)
        for name, count in workers.items():
            if services[name].running and services[name].workers != count:
                services[name] = services[name].model_copy(update={"workers": count})
                own = dict(config.get(name, {}))
                config[name] = {**own, SERVICE_ARGS: {**own.get(SERVICE_ARGS, {}), "workers": count}}
        return self.model_copy(update={"services": services, "config": config})

    def picture(self) -> Picture:
        """Returns what a drawing of the graph shows."""
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
