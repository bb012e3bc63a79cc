"""Content that every drawing of a graph has in common: DOT, SVG and text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dynamo_nb.drawing.picture import Node, Picture
from dynamo_nb.drawing.svg_elements import AMBER, GREEN, GREY, PURPLE, RED

DEFAULT_NAMESPACE = "default"
STATE_COLOURS = {
    "starting": AMBER,
    "updating": AMBER,
    "ready": GREEN,
    "draining": PURPLE,
    "failed": RED,
    "stopped": GREY,
}


@dataclass(frozen=True)
class Line:
    """The edge between two services. label: the attributes that declare it."""

    source: str
    target: str
    label: str
    active: bool


@dataclass(frozen=True)
class Outline:
    """Nodes, one line for each pair of connected services, and the nodes of each namespace.

    groups: empty where all services are in the default namespace.
    """

    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]
    groups: Mapping[str, tuple[Node, ...]]

    @classmethod
    def of(cls, picture: Picture) -> Outline:
        """Returns the outline of a picture. An interface that no link fills becomes a node."""
        nodes = {n.name: n for n in picture.nodes}
        merged: dict[tuple[str, str], Line] = {}
        for arrow in picture.arrows:
            for end in (arrow.source, arrow.target):
                nodes.setdefault(end, Node(end, "", running=False, interface=True))
            ends = (arrow.source, arrow.target)
            if (line := merged.get(ends)) is None:
                merged[ends] = Line(*ends, arrow.attribute, arrow.active)
            else:
                merged[ends] = Line(*ends, f"{line.label}, {arrow.attribute}", line.active or arrow.active)
        groups: dict[str, tuple[Node, ...]] = {}
        for node in nodes.values():
            if not node.interface:
                groups[node.namespace] = (*groups.get(node.namespace, ()), node)
        only_default = not set(groups) - {DEFAULT_NAMESPACE}
        return cls(tuple(nodes.values()), tuple(merged.values()), {} if only_default else groups)


def details(node: Node) -> str:
    """Returns the second line of a node: number of workers, GPUs, cores and memory; empty for one worker without."""
    if node.interface:
        return "interface, nothing linked"
    parts = [] if node.workers == 1 or node.local else [f"\N{MULTIPLICATION SIGN}{node.workers}"]
    if node.local:
        parts.append("in-process")
    for resource, unit in (("gpu", " GPU"), ("cpu", " CPU"), ("memory", "")):
        if value := node.resources.get(resource):
            parts.append(f"{value:g}{unit}" if isinstance(value, int | float) else f"{value}{unit}")
    return " · ".join(parts)


def status(node: Node) -> str:
    """Returns `ready`, or `failed: exit code 1`; empty for a graph that is not served."""
    return ": ".join(part for part in (node.state, " ".join(node.note.split())) if part)


def description(node: Node) -> str:
    """Returns everything about a node, one fact on each line."""
    lines = [
        node.name + (" (entry)" if node.entry else ""),
        f"namespace {node.namespace}" if node.namespace else "",
        details(node),
        f"endpoints: {', '.join(node.endpoints)}" if node.endpoints else "",
        "" if node.running or node.interface else "not started: no active path reaches it",
        status(node),
    ]
    return "\n".join(line for line in lines if line)
