"""What every drawing of a graph says, whether in DOT, SVG or text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dynamo_nb.drawing.picture import Node, Picture

DEFAULT_NAMESPACE = "default"
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
INK, QUIET, LINE, ENTRY = "#1f2328", "#59636e", "#768390", "#0969da"
"""Colours of words, of words that matter less, of lines and of the entry. The third reads on white and on black."""
STATES = {
    "starting": "#9a6700",
    "ready": "#1a7f37",
    "draining": "#8250df",
    "failed": "#cf222e",
    "stopped": "#6e7781",
}
"""Each state's colour, to be read on white."""


@dataclass(frozen=True)
class Line:
    """The edge between two services; `label` names the attributes that declare it."""

    source: str
    target: str
    label: str
    active: bool


@dataclass(frozen=True)
class Outline:
    """Nodes, one line for each pair of connected services, and the namespaces worth showing with their nodes."""

    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]
    groups: Mapping[str, tuple[Node, ...]]

    @classmethod
    def of(cls, picture: Picture) -> Outline:
        """An arrow may lead to an interface that nothing fills, which is no node yet: it becomes one."""
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
        plain = not set(groups) - {DEFAULT_NAMESPACE}
        return cls(tuple(nodes.values()), tuple(merged.values()), {} if plain else groups)


def printable(words: str) -> str:
    """The words without the characters that neither XML nor DOT can hold."""
    return _UNPRINTABLE.sub("\ufffd", words)


def details(node: Node) -> str:
    """The quiet line of a node: number of workers, GPUs, cores and memory of each; empty for one plain worker."""
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
    """`ready`, or `failed: exit code 1`; empty for a graph that is not served."""
    return ": ".join(part for part in (node.state, " ".join(node.note.split())) if part)


def description(node: Node) -> str:
    """All there is to say of a node, a line for each thing."""
    lines = [
        node.name + (" (entry)" if node.entry else ""),
        f"namespace {node.namespace}" if node.namespace else "",
        details(node),
        f"endpoints: {', '.join(node.endpoints)}" if node.endpoints else "",
        "" if node.running or node.interface else "not started: no active path reaches it",
        status(node),
    ]
    return "\n".join(line for line in lines if line)
