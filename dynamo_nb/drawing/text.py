"""A graph as plain text: a tree from its entry, in which every declared edge has one line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dynamo_nb.drawing.outline import DEFAULT_NAMESPACE, Line, Outline, details, status
from dynamo_nb.drawing.picture import Node, Picture

MARKS = {"starting": "◐", "updating": "◐", "ready": "●", "draining": "◌", "failed": "✗", "stopped": "○"}
_COLUMN = 48
"""Names up to this width are padded, so that their details are in one column."""


@dataclass(frozen=True)
class _Row:
    left: str
    right: str


def text(picture: Picture) -> str:
    """Returns the drawing as text.

    `┄` is an inactive edge, `↑` a service drawn further up, `↺` a service that closes a cycle.
    """
    rows = list(_rows(Outline.of(picture)))
    column = max((len(row.left) for row in rows if len(row.left) <= _COLUMN), default=0)
    return "\n".join(f"{row.left:<{column}}  {row.right}".rstrip() for row in rows)


def _rows(outline: Outline) -> Iterator[_Row]:
    nodes = {n.name: n for n in outline.nodes}
    lines: dict[str, list[Line]] = {}
    for edge in outline.lines:
        lines.setdefault(edge.source, []).append(edge)
    drawn: set[str] = set()
    targets = {edge.target for edge in outline.lines}
    order = sorted(outline.nodes, key=lambda n: (not n.entry, n.name in targets))
    for root in order:
        if root.name in drawn:
            continue
        # (edge to the node, indent, True for the last child, path from the root); a stack: chains may be long
        todo: list[tuple[Line | None, str, bool, tuple[str, ...]]] = [(None, "", True, ())]
        while todo:
            line, indent, last, path = todo.pop()
            node = root if line is None else nodes[line.target]
            parent = nodes[path[-1]] if path else None
            expand = node.name not in drawn and (line is None or line.active or not node.running)
            yield _Row(*_columns(node, line, parent, indent, last=last, expand=expand, cycle=node.name in path))
            if not expand:
                continue
            drawn.add(node.name)
            below = indent if line is None else indent + ("   " if last else "│  ")
            children = lines.get(node.name, [])
            todo.extend((child, below, child is children[-1], (*path, node.name)) for child in reversed(children))


def _columns(
    node: Node, line: Line | None, parent: Node | None, indent: str, *, last: bool, expand: bool, cycle: bool
) -> tuple[str, str]:
    name = f"{MARKS[node.state]} {node.name}" if node.state in MARKS else node.name
    left = name
    if line is not None:
        branch = ("└" if last else "├") + ("─" if line.active else "┄")
        left = f"{indent}{branch} {line.label}: {name}" if line.label else f"{indent}{branch} {name}"
    if not expand:
        why = "not linked" if line is not None and not line.active else ""
        where = "↺ cycle" if cycle else "↑ above" if line is not None and line.active else ""
        return left, why or where
    facts = [details(node), status(node)]
    if not node.running and not node.interface:
        facts.append("not started")
    if not node.interface and node.namespace != (parent.namespace if parent else DEFAULT_NAMESPACE):
        facts.append(f"in {node.namespace}")
    return left, "  ".join(part for part in facts if part)
