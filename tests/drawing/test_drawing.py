# ruff: noqa: RUF001 (a multiplication sign is no x)
"""A picture as DOT, SVG and text."""

import base64
import html
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor

import pygraphviz
import pytest

from dynamo_nb.drawing.dot import dot
from dynamo_nb.drawing.mimebundle import mimebundle
from dynamo_nb.drawing.picture import Arrow, Node, Picture
from dynamo_nb.drawing.svg import summary, svg
from dynamo_nb.drawing.svg_elements import printable
from dynamo_nb.drawing.text import text

SVG = "{http://www.w3.org/2000/svg}"

DISAGG = Picture(
    (
        Node("Frontend", "default", entry=True, endpoints=("chat", "models")),
        Node("Processor", "default", workers=2, resources={"cpu": "4", "memory": "8Gi"}),
        Node("Router", "default"),
        Node("VllmWorker", "default", workers=4, resources={"gpu": 2, "cpu": None}),
        Node("PrefillWorker", "default", resources={"gpu": 0.5}, running=False),
    ),
    (
        Arrow("Frontend", "Processor", "processor"),
        Arrow("Processor", "Router", "router"),
        Arrow("Processor", "VllmWorker", "worker", active=False),
        Arrow("Router", "VllmWorker", "workers"),
        Arrow("VllmWorker", "PrefillWorker", "prefill", active=False),
    ),
    "Frontend",
)
NAMESPACES = Picture(
    (
        Node("Gateway", "edge", entry=True),
        Node("Tokenizer", "edge", local=True),
        Node("Backend", "hello", workers=3),
        Node("Cache", "hello"),
    ),
    (
        Arrow("Gateway", "Tokenizer", "tokenizer"),
        Arrow("Gateway", "Backend", "backend"),
        Arrow("Backend", "Cache", "cache"),
        Arrow("Cache", "Backend", "backend"),
        Arrow("Gateway", "Cache", "cache"),
        Arrow("Gateway", "Store", "store", active=False),
    ),
    "Gateway",
)
AWKWARD = 'a:b"<&>\\N\x00'
ODD = Picture(
    (Node(AWKWARD, "default", entry=True, state="failed", note="<script>\nalert(1)"), Node("名前", "default")),
    (Arrow(AWKWARD, "名前", "x<y"), Arrow(AWKWARD, AWKWARD, "itself")),
    AWKWARD,
)
PICTURES = pytest.mark.parametrize(
    "picture",
    [DISAGG, NAMESPACES, ODD, Picture((), ()), Picture((Node("Alone", "default", entry=True),), (), "Alone")],
    ids=["disagg", "namespaces", "odd", "empty", "alone"],
)


def large(services, edges):
    nodes = tuple(Node(f"Service{i}", "default", entry=i == 0) for i in range(services))
    tree = tuple(Arrow(f"Service{i // 3}", f"Service{i}", "down") for i in range(1, services))
    across = tuple(Arrow(f"Service{i % services}", f"Service{i * 7 % services}", "across") for i in range(edges))
    return Picture(nodes, tree + across, "large")


def parsed(picture):
    root = ET.fromstring(svg(picture))
    return root, {e.get("id"): e for e in root.iter() if e.get("id")}


def texts(element):
    return [e.text for e in element.iter(f"{SVG}text")]


# --- text --------------------------------------------------------------------------------------------------------


def test_text_is_a_tree_with_a_line_for_each_edge():
    assert text(DISAGG).splitlines() == [
        "Frontend",
        "└─ processor: Processor             ×2 · 4 CPU · 8Gi",
        "   ├─ router: Router",
        "   │  └─ workers: VllmWorker        ×4 · 2 GPU",
        "   │     └┄ prefill: PrefillWorker  0.5 GPU  not started",
        "   └┄ worker: VllmWorker            not linked",
    ]


def test_text_marks_cycles_shared_services_namespaces_and_unfilled_interfaces():
    assert text(NAMESPACES).splitlines() == [
        "Gateway                    in edge",
        "├─ tokenizer: Tokenizer    in-process",
        "├─ backend: Backend        ×3  in hello",
        "│  └─ cache: Cache",
        "│     └─ backend: Backend  ↺ cycle",
        "├─ cache: Cache            ↑ above",
        "└┄ store: Store            interface, nothing linked",
    ]


def test_text_shows_states():
    states = {"Frontend": ("ready", ""), "Processor": ("failed", "exit code 1\n(log above)")}
    assert text(DISAGG.with_states(states)).splitlines()[:2] == [
        "● Frontend                          ready",
        "└─ processor: ✗ Processor           ×2 · 4 CPU · 8Gi  failed: exit code 1 (log above)",
    ]


def test_text_has_a_line_for_each_edge_and_root_of_a_large_graph():
    picture = large(200, 150)
    pairs = {(arrow.source, arrow.target) for arrow in picture.arrows}
    assert len(text(picture).splitlines()) == 1 + len(pairs)


def test_text_of_a_chain_longer_than_the_recursion_limit():
    count = sys.getrecursionlimit() + 10
    chain = tuple(Arrow(f"S{i}", f"S{i + 1}", "next") for i in range(count))
    assert len(text(Picture((Node("S0", "default", entry=True),), chain)).splitlines()) == count + 1


# --- SVG ---------------------------------------------------------------------------------------------------------


@PICTURES
def test_svg_is_one_element_with_an_id_for_every_service_and_edge(picture):
    root, found = parsed(picture)
    assert root.tag == f"{SVG}svg"
    clean = [n.name.replace("\0", "\ufffd") for n in picture.nodes]
    assert {f"service:{name}" for name in clean} <= set(found)
    assert {f"edge:{a.source}->{a.target}".replace("\0", "\ufffd") for a in picture.arrows} <= set(found)
    assert len(found) == len(set(found))


@PICTURES
def test_svg_is_the_same_bytes_every_time(picture):
    assert svg(picture) == svg(picture)


def test_svg_is_the_same_bytes_in_every_process():
    code = f"""
from dynamo_nb.drawing.picture import Arrow, Node, Picture
from dynamo_nb.drawing.svg import svg
print(svg({NAMESPACES!r}))
"""
    for seed in ("1", "2"):
        env = {"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert done.stdout == svg(NAMESPACES) + "\n"


def test_svg_scales_and_names_itself():
    root, _ = parsed(DISAGG)
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == "Graph Frontend"
    assert root.get("aria-label") == (
        "Graph Frontend of 5 services; Frontend calls Processor; Processor calls Router; Router calls VllmWorker; "
        "not started: PrefillWorker"
    )
    assert [float(n) for n in root.get("viewBox").split()][2:] == [
        float(root.get(side)) for side in ("width", "height")
    ]
    assert "max-width:100%" in root.get("style")


def test_svg_shows_workers_resources_and_inactive_edges():
    _, found = parsed(DISAGG)
    assert texts(found["service:Processor"]) == ["Processor", "×2 · 4 CPU · 8Gi"]
    assert texts(found["service:VllmWorker"]) == ["VllmWorker", "×4 · 2 GPU"]
    assert texts(found["edge:Router->VllmWorker"]) == ["workers"]
    dashed = {name for name, g in found.items() if any(e.get("stroke-dasharray") for e in g)}
    assert dashed == {"service:PrefillWorker", "edge:Processor->VllmWorker", "edge:VllmWorker->PrefillWorker"}
    assert found["service:Frontend"].get("class") == "node entry"
    assert "endpoints: chat, models" in found["service:Frontend"].find(f"{SVG}title").text


def test_svg_has_no_frame_for_the_default_namespace_alone():
    def frames(picture):
        root, _ = parsed(picture)
        return [texts(g) for g in root.iter(f"{SVG}g") if g.get("class") == "namespace"]

    assert frames(NAMESPACES) == [["edge"], ["hello"]]
    assert frames(DISAGG) == []


def test_every_card_is_within_the_svg():
    for picture in (DISAGG, NAMESPACES, ODD):
        root, _ = parsed(picture)
        left, top, width, height = (float(n) for n in root.get("viewBox").split())
        for card in root.iter(f"{SVG}rect"):
            x, y, w, h = (float(card.get(side)) for side in ("x", "y", "width", "height"))
            assert left <= x <= x + w <= left + width
            assert top <= y <= y + h <= top + height


@pytest.mark.parametrize("state", ["starting", "ready", "draining", "failed", "stopped"])
def test_svg_shows_a_state_as_text_and_colour(state):
    _, found = parsed(DISAGG.with_states({"Router": (state, "since noon")}))
    router = found["service:Router"]
    assert router.get("data-state") == state
    assert texts(router) == ["Router", f"{state}: since noon"]
    assert router.find(f"{SVG}rect").get("stroke") != found["service:Processor"].find(f"{SVG}rect").get("stroke")


def test_two_dependencies_on_one_service_are_one_edge_with_both_names():
    picture = Picture(
        (Node("A", "default", entry=True), Node("B", "default")), (Arrow("A", "B", "fast"), Arrow("A", "B", "slow"))
    )
    _, found = parsed(picture)
    assert texts(found["edge:A->B"]) == ["fast, slow"]


def test_svg_of_two_hundred_services():
    picture = large(200, 150)
    _, found = parsed(picture)
    assert sum(name.startswith("service:") for name in found) == 200


def test_svg_can_be_drawn_from_many_threads():
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(svg, [DISAGG] * 64)) == {svg(DISAGG)}


# --- DOT ---------------------------------------------------------------------------------------------------------


@PICTURES
def test_dot_is_understood_by_graphviz(picture):
    graph = pygraphviz.AGraph(string=dot(picture).source)
    names = {n.name for n in picture.nodes} | {a.target for a in picture.arrows}
    assert len(graph.nodes()) == len(names)
    assert len(graph.edges()) == len(picture.arrows)


@pytest.mark.parametrize(
    ("picture", "line"),
    [
        (DISAGG, "rankdir=LR"),
        (DISAGG, 'Frontend -> Processor [label=processor id="edge:Frontend->Processor" style=solid]'),
        (DISAGG, 'Processor -> VllmWorker [label=worker id="edge:Processor->VllmWorker" style=dashed]'),
        (DISAGG, 'id="service:VllmWorker"'),
        (DISAGG, "×4 · 2 GPU"),
        (DISAGG, "not started: no active path reaches it"),
        (NAMESPACES, "subgraph cluster_1"),
        (NAMESPACES, "label=hello"),
        (NAMESPACES, "interface, nothing linked"),
        (DISAGG.with_states({"Router": ("failed", "exit code 1")}), "failed: exit code 1"),
        (ODD, "<b>a:b&quot;&lt;&amp;&gt;"),
    ],
)
def test_dot_contains(picture, line):
    assert line in dot(picture).source


def test_dot_has_no_clusters_for_the_default_namespace_alone():
    assert "cluster" not in dot(DISAGG).source


# --- MIME bundle -------------------------------------------------------------------------------------------------


@PICTURES
def test_mimebundle_has_svg_and_text_and_an_image_with_a_text_alternative(picture):
    bundle = mimebundle(picture)
    alternative, source = re.fullmatch(
        r'<img alt="(.*?)" src="data:image/svg\+xml;base64,(.*?)" .*>', bundle.pop("text/html"), re.DOTALL
    ).groups()
    assert bundle == {"image/svg+xml": svg(picture), "text/plain": text(picture)}
    assert base64.b64decode(source).decode() == svg(picture)
    assert html.unescape(alternative) == printable(summary(picture))
    assert mimebundle(picture, live=True).keys() == {"image/svg+xml", "text/plain"}


def test_a_drawing_starts_no_process_needs_no_font_and_prints_nothing():
    """Drawn in a process with an audit hook, without font configuration and with an empty PATH."""
    code = """
import sys
def audit(event, args):
    if event.startswith(("subprocess.", "os.exec", "os.fork", "os.posix_spawn", "socket.")):
        raise SystemExit(event)
sys.addaudithook(audit)
from dynamo_nb.drawing.mimebundle import mimebundle
from dynamo_nb.drawing.picture import Arrow, Node, Picture
nodes = (Node("A", "hello", entry=True), Node("B", "hello"))
bundle = mimebundle(Picture(nodes, (Arrow("A", "B", "b"),), "A"))
assert bundle["image/svg+xml"].startswith("<svg")
"""
    env = {"FONTCONFIG_FILE": "/nonexistent", "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
