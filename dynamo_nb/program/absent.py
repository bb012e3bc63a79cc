"""Services whose code cannot be imported in this process, because it or a library that it needs is not here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dynamo_nb.errors import DynamoError, LinkError
from dynamo_nb.graph.graph import Graph
from dynamo_nb.graph.spec import ServiceSpec
from dynamo_nb.sdk.service import service


def placeholder(spec: ServiceSpec) -> type:
    """Returns a service with the name and namespace of `spec`, without endpoints, in place of its class."""
    return service(dynamo={"name": spec.name, "namespace": spec.namespace})(type(spec.name, (), {}))


def settled_graph(build: Callable[[], Graph], absent: Mapping[str, DynamoError]) -> Graph:
    """Builds a graph, again each time that more services turn out to be absent: their links have to be left out.

    Args:
        build: Builds the graph, without the links of services in `absent`. It may add to them.
        absent: The services that cannot be imported, with the error.
    """
    while True:
        known = len(absent)
        try:
            return build()
        except LinkError as error:
            if len(absent) == known:
                raise next(iter(absent.values()), error) from None
