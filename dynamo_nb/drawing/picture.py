"""What a drawing of a graph shows: plain data, apart from how it is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Node:
    """A service in a drawing.

    running: whether the graph starts it; one that no active path reaches is shown dashed.
    local: built inside its dependant's worker (`enabled: false`).
    state: "" for a graph that is not served; else starting, ready, draining, failed, stopped.
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
    """An edge in a drawing; an inactive one is dashed."""

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
        """The same picture with (state, note) for each service named."""
        nodes = (
            replace(n, state=states[n.name][0], note=states[n.name][1]) if n.name in states else n for n in self.nodes
        )
        return replace(self, nodes=tuple(nodes))
