"""The content of a drawing of a graph, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Node:
    """A service in a drawing.

    Attributes:
        name: name of the service.
        namespace: namespace of the service; empty for an interface.
        workers: number of workers.
        resources: resources of each worker: `gpu`, `cpu`, `memory`.
        endpoints: their names.
        running: True if the graph starts the service. A service that no active path reaches is drawn dashed.
        local: True if the service is built inside the worker of its dependant (`enabled: false`).
        entry: True for the entry of the graph.
        interface: True for an interface that no link fills.
        state: starting, updating, ready, draining, failed or stopped; empty for a graph that is not served.
        note: more about the state, such as the reason of a failure.
    """

    name: str
    namespace: str
    workers: int = 1
    resources: Mapping[str, object] = field(default_factory=dict)
    endpoints: tuple[str, ...] = ()
    running: bool = True
    local: bool = False
    entry: bool = False
    interface: bool = False
    state: str = ""
    note: str = ""


@dataclass(frozen=True)
class Arrow:
    """An edge in a drawing; an inactive edge is dashed."""

    source: str
    target: str
    attribute: str
    active: bool = True


@dataclass(frozen=True)
class Picture:
    """Nodes and arrows, in a deterministic order."""

    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]
    name: str = ""

    def with_states(self, states: Mapping[str, tuple[str, str]]) -> Picture:
        """Returns the picture with other states.

        Args:
            states: name of a service to its state and note. Services that it does not name stay unchanged.
        """
        nodes = (
            replace(n, state=states[n.name][0], note=states[n.name][1]) if n.name in states else n for n in self.nodes
        )
        return replace(self, nodes=tuple(nodes))
