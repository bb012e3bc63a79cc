"""The positions of boxes, edges and frames in a drawing."""

import sys
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_nb.drawing.layered_layout import lay_out
from dynamo_nb.drawing.layout import DENSE, Group

LABEL = (40.0, 14.0)
ROUNDING = 1e-6
DOZEN = [
    *[("Gateway", to) for to in ("Auth", "Tokenizer", "Router", "Embedder", "Reranker", "Logger")],
    *[("Router", to) for to in ("Prefill", "Decode", "Cache")],
    *[("Tokenizer", "Router"), ("Prefill", "Decode"), ("Decode", "Cache"), ("Cache", "Router"), ("Decode", "Logger")],
    *[("Embedder", "VectorStore"), ("VectorStore", "Reranker"), ("Auth", "Billing"), ("Billing", "Logger")],
]
NAMES = list(dict.fromkeys(name for edge in DOZEN for name in edge))
DOZEN_PAIRS = [(NAMES.index(a), NAMES.index(b)) for a, b in DOZEN]


def sized(count):
    return [(84.0 + i * 7 % 40, 32.0 + i % 3 * 16) for i in range(count)]


def laid_out(count, edges, groups=()):
    boxes = sized(count)
    layout = lay_out(boxes, [(a, b, LABEL) for a, b in edges], groups)
    rects = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in zip(layout.centres, boxes, strict=True)]
    return layout, rects


def apart(one, other):
    gaps = other[0] - one[2], one[0] - other[2], other[1] - one[3], one[1] - other[3]
    return max(gaps) >= -ROUNDING


def inside(one, other):
    gaps = one[0] - other[0], one[1] - other[1], other[2] - one[2], other[3] - one[3]
    return min(gaps) >= -ROUNDING


def label_rects(layout, edges):
    shown = [route.label for route in layout.routes if route.label] if len(edges) <= DENSE else []
    return [(x - LABEL[0] / 2, y - LABEL[1] / 2, x + LABEL[0] / 2, y + LABEL[1] / 2) for x, y in shown]


def sampled(route, steps=16):
    """Points along the curves of a route."""
    for i in range(0, len(route.points) - 1, 3):
        p, q, r, s = route.points[i : i + 4]
        for t in (k / steps for k in range(steps + 1)):
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
            yield tuple(sum(w * point[axis] for w, point in zip(weights, (p, q, r, s), strict=True)) for axis in (0, 1))


def crossings(layout):
    """Pairs of edges whose drawn lines cross."""

    def side(p, q, r):
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    def cross(p, q, r, s):
        if max(p[0], q[0]) < min(r[0], s[0]) or max(r[0], s[0]) < min(p[0], q[0]):
            return False
        return side(p, q, r) * side(p, q, s) < 0 and side(r, s, p) * side(r, s, q) < 0

    lines = [list(pairwise([*sampled(route, steps=5), route.tip])) for route in layout.routes]
    return sum(any(cross(*a, *b) for a in one for b in other) for one, other in combinations(lines, 2))


def check(count, edges, groups=()):
    """What holds for every drawing; returns it."""
    layout, rects = laid_out(count, edges, groups)
    labels = label_rects(layout, edges)
    assert all(apart(one, other) for one, other in combinations(rects + labels, 2))
    assert all(inside(rect, (0, 0, *layout.size)) for rect in (*rects, *labels, *layout.frames))
    assert all(apart(one, other) for one, other in combinations(layout.frames, 2))
    for group, frame in zip(groups, layout.frames, strict=True):
        assert frame[2] - frame[0] >= group.label[0]
        for i, rect in enumerate(rects):
            assert (inside if i in group.members else apart)(rect, frame)
    for (source, target), route in zip(edges, layout.routes, strict=True):
        points = list(sampled(route))
        assert any(points[0][0] == pytest.approx(x) for x in rects[source][0::2]) or source == target
        assert any(route.tip[0] == pytest.approx(x) for x in rects[target][0::2]) or source == target
        for i, rect in enumerate(rects):
            assert i in (source, target) or all(apart((x, y, x, y), rect) for x, y in points)
    return layout


TREE = [(i // 3, i) for i in range(1, 30)]
WEB = [(i, j) for i in range(14) for j in range(i + 1, 14) if i * j % 5 == 1 or j == i + 1]
MANY_EDGES = [(i % 60, i * 7 % 60) for i in range(200)]


@pytest.mark.parametrize(
    ("count", "edges"),
    [
        (30, TREE),
        (14, WEB),
        (60, MANY_EDGES),
        (5, [(4, 3), (3, 2), (2, 1), (1, 0), (0, 4)]),
        (3, [(0, 0), (1, 2), (2, 1)]),
        (0, []),
        (1, []),
    ],
    ids=["tree", "web", "many-edges", "ring", "pair", "empty", "alone"],
)
def test_nothing_overlaps_and_edges_go_through_no_other_box(count, edges):
    check(count, edges)


@st.composite
def graphs(draw):
    """Boxes, edges between them (also cycles and loops), and some of the boxes in groups."""
    count = draw(st.integers(1, 16))
    box = st.integers(0, count - 1)
    edges = draw(st.lists(st.tuples(box, box), max_size=2 * count, unique=True))
    group_of = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    members = [tuple(i for i in range(count) if group_of[i] == group) for group in range(1, 5)]
    return count, edges, [Group(boxes, (60.0, 14.0)) for boxes in members if boxes]


@given(graphs())
@settings(max_examples=100, deadline=None)
def test_nothing_overlaps_in_any_graph_with_groups(graph):
    check(*graph)


def test_the_same_graph_is_laid_out_the_same_way():
    assert laid_out(12, DOZEN_PAIRS, NAMESPACES) == laid_out(12, DOZEN_PAIRS, NAMESPACES)


@pytest.mark.parametrize(("count", "edges"), [(30, TREE), (14, WEB)], ids=["tree", "web"])
def test_edges_of_a_graph_without_cycles_lead_from_left_to_right(count, edges):
    layout, _ = laid_out(count, edges)
    for (source, target), route in zip(edges, layout.routes, strict=True):
        xs = [x for x, _ in route.points] + [route.tip[0]]
        assert layout.centres[source][0] < layout.centres[target][0]
        assert all(left <= right for left, right in pairwise(xs))


def test_an_edge_that_closes_a_cycle_leads_back_beside_the_others():
    layout, _ = laid_out(3, [(0, 1), (1, 2), (2, 0), (1, 0)])
    xs = [x for x, _ in layout.centres]
    assert xs == sorted(xs)
    there, _, _, back = layout.routes
    assert back.tip[0] < back.points[0][0]
    assert back.tip[1] != there.points[0][1]


def test_a_source_is_close_to_its_target():
    layout, _ = laid_out(5, [(0, 1), (1, 2), (2, 3), (4, 3)])
    assert layout.centres[4][0] == pytest.approx(layout.centres[2][0])


def test_a_box_with_two_targets_is_between_them():
    layout, _ = laid_out(4, [(0, 1), (1, 2), (1, 3)])
    ys = [y for _, y in layout.centres]
    assert ys[0] == pytest.approx(ys[1])
    assert ys[2] < ys[1] < ys[3]


def test_long_edges_are_level_on_their_way():
    layout, _ = laid_out(len(NAMES), DOZEN_PAIRS)
    for ends in [("Billing", "Logger"), ("Gateway", "Reranker"), ("Cache", "Router")]:
        heights = {round(y, 3) for _, y in layout.routes[DOZEN.index(ends)].points}
        assert len(heights) <= 3


@pytest.mark.parametrize("count", [2, 3, 5])
def test_frames_hold_their_members_and_nothing_else(count):
    groups = [Group(tuple(range(i, 14, count)), (60.0, 14.0)) for i in range(count)]
    groups[-1] = Group(groups[-1].members[:-1], (600.0, 14.0))
    check(14, WEB, groups)


NAMESPACES = [
    Group(tuple(map(NAMES.index, names)), (60.0, 14.0))
    for names in (
        ("Gateway", "Auth", "Tokenizer"),
        ("Router", "Embedder", "Reranker", "Prefill", "Decode", "Cache", "VectorStore"),
        ("Logger", "Billing"),
    )
]


@pytest.mark.parametrize(
    ("count", "edges", "groups"),
    [(30, TREE, ()), (12, DOZEN_PAIRS, ()), (12, DOZEN_PAIRS, NAMESPACES)],
    ids=["tree", "dozen", "dozen-in-namespaces"],
)
def test_no_edges_cross_where_none_need_to(count, edges, groups):
    assert crossings(check(count, edges, groups)) == 0


def test_a_group_is_to_the_right_of_the_group_that_calls_it():
    layout, _ = laid_out(12, DOZEN_PAIRS, NAMESPACES)
    edge, default, ops = layout.frames
    assert edge[2] <= default[0]
    assert default[0] < ops[0]
    assert max(edge[1], default[1]) < min(edge[3], default[3])  # side by side


@pytest.mark.parametrize("namespaces", [0, 8])
def test_two_hundred_services(namespaces):
    edges = [(i // 3, i) for i in range(1, 200)] + [(i % 200, i * 7 % 200) for i in range(550)]
    groups = [Group(tuple(range(i, 200, namespaces)), (60.0, 14.0)) for i in range(namespaces)]
    layout, rects = laid_out(200, edges, groups)
    assert len(layout.routes) == len(edges)
    assert len(layout.frames) == namespaces
    assert all(apart(one, other) for one, other in combinations(rects, 2))


def test_a_chain_longer_than_the_recursion_limit():
    count = sys.getrecursionlimit() + 10
    layout, _ = laid_out(count, list(pairwise(range(count))))
    assert len(layout.centres) == count
