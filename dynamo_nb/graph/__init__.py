"""Graphs of services: built from an entry, drawn, and assembled into the GraphSpec that is deployed."""

from typing import TYPE_CHECKING, Any

from dynamo_nb.drawing.picture import Picture
from dynamo_nb.graph.graph import Edge, Graph

if TYPE_CHECKING:
    from dynamo_nb.graph.spec import GraphSpec as GraphSpec

__all__ = ["Edge", "Graph", "GraphSpec", "Picture"]


def __getattr__(name: str) -> Any:
    if name == "GraphSpec":  # needs pydantic, drawing a graph does not
        from dynamo_nb.graph.spec import GraphSpec

        return GraphSpec
    raise AttributeError(name)
