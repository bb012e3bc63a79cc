"""Assembles a GraphSpec from a graph, its configuration and its code."""

from __future__ import annotations

from dataclasses import asdict

from dynamo_nb.config.effective import EffectiveConfig
from dynamo_nb.graph.graph import Graph
from dynamo_nb.graph.spec import EdgeSpec, EndpointSpec, GraphSpec, ServiceSpec
from dynamo_nb.sdk.definition import ServiceDefinition
from dynamo_nb.sdk.endpoint import Endpoint
from dynamo_nb.sdk.hooks import hooks_of
from dynamo_nb.source.code_tree import CodeTree


def assemble(graph: Graph, config: EffectiveConfig, code: CodeTree, name: str) -> GraphSpec:
    """Returns the GraphSpec to deploy.

    Args:
        graph: the graph.
        config: effective configuration, with every service that an active path reaches.
        code: modules, with the same services.
        name: name of the deployment.
    """
    running = [*graph.running, *(n for n in reversed(list(graph.services)) if n not in graph.running)]
    return GraphSpec(
        name=name,
        entry=graph.entry,
        services={n: _service(graph.services[n], graph, config, code) for n in running},
        edges=[EdgeSpec(**asdict(edge)) for edge in graph.edges],
        code=dict(code.files),
        config=config.for_workers(),
        origins=config.origins(),
    )


def _service(definition: ServiceDefinition, graph: Graph, config: EffectiveConfig, code: CodeTree) -> ServiceSpec:
    name = definition.name
    for endpoint in definition.endpoints.values():
        endpoint.check_types(definition.where)  # once more: names may have been defined after the service
    endpoints = [_endpoint(endpoint) for endpoint in definition.endpoints.values()]
    if name not in config.services:
        return ServiceSpec(
            name=name, namespace=definition.namespace, target="", running=False, workers=0, endpoints=endpoints
        )
    args = config.services[name].args
    return ServiceSpec(
        name=name,
        namespace=args.dynamo.namespace,
        target=code.targets[name],
        digest=code.digests.get(name, ""),
        enabled=args.dynamo.enabled,
        workers=args.workers,
        gpu=args.resources.gpu,
        cpu=args.resources.cpu,
        memory=args.resources.memory,
        image=args.image,
        envs=args.envs,
        labels=args.labels,
        traffic=args.traffic.model_dump(exclude_none=True),
        endpoints=endpoints,
        bindings=graph.bindings(name),
        reconfigures=bool(hooks_of(definition.cls, "reconfigure")),
        app=definition.app is not None,
    )


def _endpoint(endpoint: Endpoint) -> EndpointSpec:
    return EndpointSpec(
        name=endpoint.name,
        stream=endpoint.stream,
        transports=sorted(t.value for t in endpoint.transports),
        http_method=endpoint.http_method,
        retry=endpoint.retry,
        **endpoint.schema(),
    )
