"""Where things stand in a drawing without Graphviz."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise

import pytest

from dynamo_nb.drawing import layered_layout
from dynamo_nb.drawing.layout import Group
from dynamo_nb.drawing.mimebundle import mimebundle
from dynamo_nb.drawing.picture import Arrow, Node, Picture

REFUSED = """
import json, sys
from importlib.abc import MetaPathFinder
class Refuse(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "pygraphviz":
            raise ImportError("libX11.so.6: cannot open shared object file: No such file or directory")
sys.meta_path.insert(0, Refuse())
from dynamo_nb.drawing.mimebundle import mimebundle
from dynamo_nb.drawing.picture import Arrow, Node, Picture
nodes, arrows = json.load(sys.stdin)
picture = Picture(tuple(Node(**n) for n in nodes), tuple(Arrow(**a) for a in arrows), "picture")
json.dump([mimebundle(picture), "pygraphviz" in sys.modules], sys.stdout)
"""
"""A process in which the extension of pygraphviz cannot be loaded, as in an image without the libraries of X11."""

LABEL = (40.0, 14.0)


def picture(edges, namespaces=None):
    names = list(dict.fromkeys(name for edge in edges for name in edge))
    nodes = (Node(n, (namespaces or {}).get(n, "default"), entry=not i, workers=1 + i % 2) for i, n in enumerate(names))
    return Picture(tuple(nodes), tuple(Arrow(a, b, b.lower(), active=b != "Backend2") for a, b in edges), "picture")


HELLO = [("Frontend", "Middle"), ("Middle", "Backend"), ("Middle", "Backend2")]
DOZEN = [
    *[("Gateway", to) for to in ("Auth", "Tokenizer", "Router", "Embedder", "Reranker", "Logger")],
    *[("Router", to) for to in ("Prefill", "Decode", "Cache")],
    *[("Tokenizer", "Router"), ("Prefill", "Decode"), ("Decode", "Cache"), ("Cache", "Router"), ("Decode", "Logger")],
    *[("Embedder", "VectorStore"), ("VectorStore", "Reranker"), ("Auth", "Billing"), ("Billing", "Logger")],
]
SPACES = dict.fromkeys(("Gateway", "Auth", "Tokenizer"), "edge") | dict.fromkeys(("Logger", "Billing"), "ops")
PICTURES = pytest.mark.parametrize(
    "drawn",
    [
        picture(HELLO),
        picture(DOZEN),
        picture(DOZEN, SPACES),
        picture([("A", "B"), ("B", "A"), ("A", "A"), ("B", "C"), ("C", "A")]),
        picture([("A", "Store"), ("A", "B")], {"A": "edge", "B": "edge"}),
        Picture((), ()),
        Picture((Node("Alone", "default", entry=True),), ()),
    ],
    ids=["hello", "dozen", "namespaces", "cycles", "one-namespace", "empty", "alone"],
)


def without_graphviz(drawn):
    sent = json.dumps([[vars(node) for node in drawn.nodes], [vars(arrow) for arrow in drawn.arrows]])
    done = subprocess.run([sys.executable, "-c", REFUSED], input=sent, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    bundle, loaded = json.loads(done.stdout)
    assert not loaded
    return bundle


def parts(svg):
    """Everything in a drawing but where it stands."""
    return sorted(
        (element.get("id") or element.get("class"), *(word.text for word in element.iter() if word.text))
        for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}g")
    )


def sized(count):
    return [(84.0 + i * 7 % 40, 32.0 + i % 3 * 16) for i in range(count)]


def laid(count, edges, groups=()):
    boxes = sized(count)
    layout = layered_layout.lay_out(boxes, [(a, b, LABEL) for a, b in edges], groups)
    rects = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in zip(layout.centres, boxes, strict=True)]
    return layout, rects


def apart(one, other):
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def inside(one, other):
    return other[0] <= one[0] and other[1] <= one[1] and one[2] <= other[2] and one[3] <= other[3]


def sampled(route):
    """Points along the curves of a route."""
    for i in range(0, len(route.points) - 1, 3):
        p, q, r, s = route.points[i : i + 4]
        for t in (k / 16 for k in range(17)):
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
            yield tuple(sum(w * point[axis] for w, point in zip(weights, (p, q, r, s), strict=True)) for axis in (0, 1))


TREE = [(i // 3, i) for i in range(1, 30)]
WEB = [(i, j) for i in range(14) for j in range(i + 1, 14) if i * j % 5 == 1 or j == i + 1]
DENSE = [(i % 60, i * 7 % 60) for i in range(200)]
GRAPHS = pytest.mark.parametrize(
    ("count", "edges"),
    [(30, TREE), (14, WEB), (60, DENSE), (5, [(4, 3), (3, 2), (2, 1), (1, 0), (0, 4)]), (3, [(0, 0), (1, 2), (2, 1)])],
    ids=["tree", "web", "dense", "ring", "pair"],
)


@PICTURES
def test_a_process_that_cannot_load_pygraphviz_draws_the_same_things_at_other_places(drawn):
    bundle, usual = without_graphviz(drawn), mimebundle(drawn)
    assert bundle["text/plain"] == usual["text/plain"]
    assert parts(bundle["image/svg+xml"]) == parts(usual["image/svg+xml"])


def test_a_drawing_is_the_same_bytes_in_every_process():
    assert without_graphviz(picture(DOZEN, SPACES)) == without_graphviz(picture(DOZEN, SPACES))


@GRAPHS
def test_boxes_and_labels_do_not_overlap_and_are_in_the_drawing(count, edges):
    layout, rects = laid(count, edges)
    labels = [route.label for route in layout.routes if route.label]
    rects += [(x - 20, y - 7, x + 20, y + 7) for x, y in labels if len(edges) <= 60]
    assert all(apart(one, other) for one, other in combinations(rects, 2))
    assert all(inside(rect, (0, 0, *layout.size)) for rect in rects)


@GRAPHS
def test_an_edge_leads_from_box_to_box_and_through_no_other(count, edges):
    layout, rects = laid(count, edges)
    for (source, target), route in zip(edges, layout.routes, strict=True):
        ways = list(sampled(route))
        assert any(x == pytest.approx(ways[0][0]) for x in rects[source][0::2]) or source == target
        assert any(x == pytest.approx(route.tip[0]) for x in rects[target][0::2]) or source == target
        for i, rect in enumerate(rects):
            if i not in (source, target):
                assert all(apart((x, y, x, y), rect) for x, y in ways)


@pytest.mark.parametrize(("count", "edges"), [(30, TREE), (14, WEB)], ids=["tree", "web"])
def test_edges_of_a_graph_without_cycles_lead_from_left_to_right(count, edges):
    layout, _ = laid(count, edges)
    for (source, target), route in zip(edges, layout.routes, strict=True):
        xs = [x for x, _ in route.points] + [route.tip[0]]
        assert layout.centres[source][0] < layout.centres[target][0]
        assert all(left <= right for left, right in pairwise(xs))


def test_an_edge_that_closes_a_cycle_leads_back_beside_the_others():
    layout, _ = laid(3, [(0, 1), (1, 2), (2, 0), (1, 0)])
    xs = [x for x, _ in layout.centres]
    assert xs == sorted(xs)
    there, _, _, back = layout.routes
    assert back.tip[0] < back.points[0][0]
    assert back.tip[1] != there.points[0][1]


def test_a_source_stands_close_to_what_it_calls():
    layout, _ = laid(5, [(0, 1), (1, 2), (2, 3), (4, 3)])
    assert layout.centres[4][0] == pytest.approx(layout.centres[2][0])


def test_what_calls_two_stands_between_them():
    layout, _ = laid(4, [(0, 1), (1, 2), (1, 3)])
    ys = [y for _, y in layout.centres]
    assert ys[0] == pytest.approx(ys[1])
    assert ys[2] < ys[1] < ys[3]


def test_long_edges_are_level_on_their_way():
    names = list(dict.fromkeys(name for edge in DOZEN for name in edge))
    layout, _ = laid(len(names), [(names.index(a), names.index(b)) for a, b in DOZEN])
    for ends in [("Billing", "Logger"), ("Gateway", "Reranker"), ("Cache", "Router")]:
        heights = {round(y, 3) for _, y in layout.routes[DOZEN.index(ends)].points}
        assert len(heights) <= 3


@pytest.mark.parametrize("count", [2, 3, 5])
def test_frames_hold_their_members_and_nothing_else(count):
    groups = [Group(tuple(range(i, 14, count)), (60.0, 14.0)) for i in range(count)]
    groups[-1] = Group(groups[-1].members[:-1], (600.0, 14.0))
    layout, rects = laid(14, WEB, groups)
    assert all(apart(one, other) for one, other in combinations(layout.frames, 2))
    assert all(inside(frame, (0, 0, *layout.size)) for frame in layout.frames)
    assert all(right - left >= group.label[0] for group, (left, _, right, _) in zip(groups, layout.frames, strict=True))
    for group, frame in zip(groups, layout.frames, strict=True):
        for i, rect in enumerate(rects):
            assert (inside if i in group.members else apart)(rect, frame)


def test_two_hundred_services():
    edges = [(i // 3, i) for i in range(1, 200)] + [(i % 200, i * 7 % 200) for i in range(550)]
    layout, rects = laid(200, edges)
    assert len(layout.routes) == len(edges)
    assert all(apart(one, other) for one, other in combinations(rects, 2))


def test_a_chain_longer_than_the_recursion_limit():
    count = sys.getrecursionlimit() + 10
    layout, _ = laid(count, list(pairwise(range(count))))
    assert len(layout.centres) == count
