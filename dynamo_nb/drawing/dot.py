"""A graph as DOT, for Graphviz and other tools that read it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from dynamo_nb.drawing.outline import STATE_COLOURS, Outline, description, details, status
from dynamo_nb.drawing.picture import Node, Picture
from dynamo_nb.drawing.svg_elements import BLUE, INK, LINE, QUIET, printable

if TYPE_CHECKING:
    import graphviz

_FONT = "Helvetica,Arial,sans-serif"


def dot(picture: Picture) -> graphviz.Digraph:
    """Returns the drawing as a `graphviz.Digraph`; nodes and edges have the ids `service:A` and `edge:A->B`.

    It needs no `dot` executable. `Digraph.render` and the object's own repr do.
    """
    import graphviz

    outline = Outline.of(picture)
    graph = graphviz.Digraph(
        printable(picture.name) or "graph",
        graph_attr={"rankdir": "LR", "nodesep": "0.35", "ranksep": "0.55", "bgcolor": "transparent", "fontname": _FONT},
        node_attr={"shape": "box", "style": "rounded,filled", "fillcolor": "white", "color": LINE, "fontname": _FONT,
                   "fontsize": "13", "fontcolor": INK, "margin": "0.2,0.09"},
        edge_attr={"color": LINE, "fontname": _FONT, "fontsize": "10", "fontcolor": QUIET, "arrowsize": "0.7"},
    )  # fmt: skip
    # DOT reads a colon in the end of an edge as a port, so such a service gets a number.
    keys = {n.name: printable(n.name) if ":" not in n.name else f"service {i}" for i, n in enumerate(outline.nodes)}

    def add(target: graphviz.Digraph, node: Node) -> None:
        target.node(
            keys[node.name],
            _label(node),
            id=_literal(f"service:{node.name}"),
            tooltip=_literal(description(node)),
            **_look(node),
        )

    grouped = {n.name for nodes in outline.groups.values() for n in nodes}
    for index, (namespace, nodes) in enumerate(outline.groups.items()):
        with graph.subgraph(name=f"cluster_{index}") as cluster:
            cluster.attr(label=_literal(namespace), style="rounded,dashed", color=LINE, fontcolor=QUIET,
                         fontsize="10", labeljust="l", margin="14")  # fmt: skip
            for node in nodes:
                add(cluster, node)
    for node in outline.nodes:
        if node.name not in grouped:
            add(graph, node)
    for line in outline.lines:
        graph.edge(
            keys[line.source],
            keys[line.target],
            label=_literal(line.label),
            id=_literal(f"edge:{line.source}->{line.target}"),
            style="solid" if line.active else "dashed",
        )
    return graph


def _literal(text: str) -> str:
    """A value in which a backslash stands for itself; DOT has escape sequences."""
    import graphviz

    return str(graphviz.escape(printable(text)))


def _html(text: str) -> str:
    return escape(printable(text))


def _label(node: Node) -> str:
    rows = [f"<b>{_html(node.name)}</b>"]
    if quiet := details(node):
        rows.append(f'<font point-size="10" color="{QUIET}">{_html(quiet)}</font>')
    if state := status(node):
        rows.append(f'<font point-size="10" color="{STATE_COLOURS.get(node.state, QUIET)}">{_html(state)}</font>')
    return f"<{'<br/>'.join(rows)}>"


def _look(node: Node) -> dict[str, str]:
    look: dict[str, str] = {}
    if node.entry:
        look |= {"color": BLUE, "penwidth": "2"}
    if node.state in STATE_COLOURS:
        look["color"] = STATE_COLOURS[node.state]
    if not node.running:
        look |= {"style": "rounded,filled,dashed", "fontcolor": QUIET}
    elif node.local:
        look["style"] = "rounded,filled,dotted"
    return look
