"""The graph widget: its traits in the kernel, and what it does in a browser."""

import base64
import json
import re
import shutil
import subprocess
import threading
from html import unescape

import pytest

from dynamo_nb.drawing.picture import Arrow, Node, Picture
from dynamo_nb.drawing.svg import svg
from dynamo_nb.drawing.text import text
from dynamo_nb.notebook.graph_widget import GraphWidget
from dynamo_nb.observe.traffic import Load, Traffic

PICTURE = Picture(
    (
        Node("Frontend", "hello", entry=True, endpoints=("generate",), state="ready"),
        Node("Backend", "hello", workers=4, resources={"gpu": 2, "cpu": None}, state="starting", note="1 of 4"),
    ),
    (Arrow("Frontend", "Backend", "backend"),),
    "Frontend",
)
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium on the path")


def changes(view):
    """Names of the traits that change from now on."""
    seen = []
    view.observe(lambda change: seen.append(change["name"]))
    return seen


# --- in the kernel -----------------------------------------------------------------------------------------------


def test_a_view_has_the_drawing_with_room_for_numbers_and_the_states():
    view = GraphWidget(PICTURE, "hello-1234", {"Backend": {"workers": "1/4", "gpus": "0,1"}})
    assert view.svg == svg(PICTURE, live=True)
    assert view.text == text(PICTURE)
    assert view.deployment == "hello-1234"
    assert view.states == {
        "Frontend": {"state": "ready", "note": ""},
        "Backend": {"state": "starting", "note": "1 of 4", "workers": "1/4", "gpus": "0,1"},
    }


def test_a_card_is_made_for_the_service_that_is_selected_only():
    asked = []

    def describe(name):
        asked.append(name)
        return {"service": name}

    view = GraphWidget(PICTURE, card_of=describe)
    view.show(PICTURE)
    assert asked == []
    view.selected = "Backend"
    assert view.card == {"service": "Backend"}
    view.selected = ""
    assert (view.card, asked) == ({}, ["Backend"])


def test_traffic_is_shown_without_a_new_drawing():
    view = GraphWidget(PICTURE, "hello-1234")
    seen = changes(view)
    load = Load(rate=1234.567, p50=0.00123456, p99=None, in_flight=3, errors=0.5, failed=7)
    traffic = Traffic({"Backend": load}, edges={("Frontend", "Backend"): load}, memory={"a": 5, "b": 6})
    view.show_traffic(traffic, {"Frontend": [], "Backend": ["a", "b"]})
    shown = {"rate": 1230.0, "p50": 0.00123, "p99": None, "in_flight": 3, "errors": 0.5, "failed": 7}
    assert view.loads == {
        "services": {"Backend": {**shown, "memory": 11}},
        "edges": {"Frontend->Backend": shown},
    }
    assert seen == ["loads"]
    view.show(PICTURE)
    assert view.loads == {}  # nothing is served any more


def test_what_the_page_asks_is_told_with_its_view():
    asked = []
    view = GraphWidget(PICTURE, receive=lambda *told: asked.append(told))
    view._handle_custom_msg({"do": "restart", "service": "Backend", "id": 1}, [])
    assert asked == [(view, {"do": "restart", "service": "Backend", "id": 1})]


def test_a_new_state_is_sent_without_a_new_drawing():
    view = GraphWidget(PICTURE)
    seen = changes(view)
    view.show(PICTURE.with_states({"Backend": ("failed", "exit code 1")}))
    assert sorted(seen) == ["states", "text"]
    assert view.states["Backend"] == {"state": "failed", "note": "exit code 1"}


def test_the_same_picture_again_sends_nothing():
    view = GraphWidget(PICTURE)
    seen = changes(view)
    view.show(PICTURE)
    assert seen == []


@pytest.mark.parametrize(
    "picture",
    [
        Picture(PICTURE.nodes, (), "Frontend"),
        Picture((*PICTURE.nodes, Node("Cache", "hello")), PICTURE.arrows, "Frontend"),
        PICTURE.with_states({"Backend": ("", "")}),
    ],
    ids=["an edge less", "a service more", "no line for a state"],
)
def test_another_shape_is_drawn_anew(picture):
    view = GraphWidget(PICTURE)
    view.show(picture)
    assert view.svg == svg(picture, live=True)


def test_the_selection_ends_when_its_service_is_gone():
    view = GraphWidget(PICTURE)
    view.selected = "Backend"
    view.show(PICTURE)
    assert view.selected == "Backend"
    view.show(Picture(PICTURE.nodes[:1], (), "Frontend"))
    assert view.selected == ""


def test_a_view_is_also_shown_where_no_widget_lives():
    view = GraphWidget(PICTURE)
    picture = PICTURE.with_states({"Backend": ("ready", "")})
    view.show(picture)
    data, _ = view._repr_mimebundle_()
    assert data["image/svg+xml"] == svg(picture, live=True)
    assert data["text/plain"] == text(picture)
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == view.model_id


def test_a_view_starts_no_thread():
    before = threading.active_count()
    GraphWidget(PICTURE)
    assert threading.active_count() == before


def test_what_the_notebook_saves_of_the_code_is_small():
    view = GraphWidget(PICTURE)
    assert len(view._esm) + len(view._css) < 120_000


# --- in a browser ------------------------------------------------------------------------------------------------

PAGE = """<!doctype html><meta charset="utf-8"><style>{css}</style><body><div id="el"></div>
<script type="module">
import make from "data:text/javascript;base64,{esm}";
const state = {state}, handlers = {{}}, sent = [];
const model = {{
  get: (key) => state[key],
  set: (key, value) => {{ state[key] = value; handlers["change:" + key]?.forEach((act) => act()); }},
  save_changes: () => {{}},
  send: (message) => sent.push(message),
  on: (event, act) => (handlers[event] ??= new Set()).add(act),
  card: () => model.on("change:selected", () => model.set("card", state.selected ? {{ service: state.selected,
    rows: [["namespace", "hello"]] }} : {{}})),
  off: (event, act) => handlers[event].delete(act),
}};
const widget = make(), ended = widget.initialize({{ model }});
const el = document.getElementById("el"), $ = (selector) => el.querySelector(selector);
const node = (name) => $(`[data-service="${{name}}"]`), drawing = () => $(".dynamo-stage > svg"), view = () => drawing().getAttribute("viewBox");
const click = (target) => target.dispatchEvent(new MouseEvent("click", {{ bubbles: true }}));
const press = (target, key) => target.dispatchEvent(new KeyboardEvent("keydown", {{ key, bubbles: true, cancelable: true }}));
const stop = widget.render({{ model, el }});
const said = {{}};
{script}
const out = document.body.appendChild(document.createElement("pre"));
out.id = "said";
out.textContent = JSON.stringify(said);
</script>"""


def play(view, script, tmp_path):
    """Shows the view in a browser, runs the script there, and gives what it put into `said`."""
    state = {name: getattr(view, name) for name in ("svg", "text", "deployment", "states", "loads", "card", "selected")}
    page = tmp_path / "page.html"
    page.write_text(
        PAGE.format(
            css=view._css,
            esm=base64.b64encode(view._esm.encode()).decode(),
            state=json.dumps(state).replace("</", "<\\/"),
            script=script,
        )
    )
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--force-prefers-reduced-motion",
        f"--user-data-dir={tmp_path}/profile",
    ]
    done = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True, timeout=90
    )
    found = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr
    return json.loads(unescape(found[1]))


@in_browser
def test_a_click_or_a_key_opens_a_card_and_escape_closes_it(tmp_path):
    script = """
    click(node("Backend").querySelector(".name"));
    said.clicked = [state.selected, $("aside").hidden, $("aside").innerText.split(/\\s+/)];
    said.pressed = node("Backend").getAttribute("aria-pressed");
    press(node("Backend"), "Escape");
    said.escaped = [state.selected, $("aside").hidden];
    node("Frontend").focus();
    press(document.activeElement, "Enter");
    said.entered = state.selected;
    click($("aside button"));
    said.closed = [state.selected, document.activeElement.dataset.service];
    """
    said = play(GraphWidget(PICTURE), "model.card(); " + script, tmp_path)
    words = "Backend starting 1 of 4 Overview namespace hello"
    assert said == {
        "clicked": ["Backend", False, words.split()],
        "pressed": "true",
        "escaped": ["", True],
        "entered": "Frontend",
        "closed": ["", "Frontend"],
    }


@in_browser
def test_a_new_state_changes_colour_and_words_in_place(tmp_path):
    script = """
    const before = drawing();
    model.set("states", { ...state.states, Backend: { state: "failed", note: "exit code 1" } });
    said.same = before === drawing();
    said.state = node("Backend").dataset.state;
    said.label = node("Backend").getAttribute("aria-label");
    said.words = node("Backend").querySelector("text.state").textContent;
    said.news = $(".dynamo-news").textContent;
    const edge = (name) => getComputedStyle(node(name).querySelector(".state")).fill;
    said.colours = edge("Backend") !== edge("Frontend");
    """
    said = play(GraphWidget(PICTURE), script, tmp_path)
    assert said.pop("words").startswith("failed: e")
    assert said == {
        "same": True,
        "state": "failed",
        "label": "Backend, failed: exit code 1",
        "news": "Backend failed: exit code 1",
        "colours": True,
    }


@in_browser
def test_zoom_and_pan_and_back(tmp_path):
    script = """
    const wheel = (more) => drawing().dispatchEvent(
      new WheelEvent("wheel", { deltaY: -1, clientX: 50, clientY: 50, bubbles: true, cancelable: true, ...more }));
    const pointer = (type, x) => $(".dynamo-stage").dispatchEvent(
      new PointerEvent(type, { clientX: x, clientY: 50, button: 0, bubbles: true }));
    $(".dynamo-stage").setPointerCapture = () => {};  // made-up pointers cannot be captured
    const home = view();
    said.scrolls = wheel({}) && view() === home;
    said.zooms = !wheel({ ctrlKey: true }) && view() !== home;
    press(drawing(), "0");
    said.back = view() === home;
    press(drawing(), "+");
    said.keys = view() !== home;
    press(drawing(), "0");
    pointer("pointerdown", 50); pointer("pointermove", 80); pointer("pointerup", 80);
    said.pans = Number(view().split(" ")[0]) < Number(home.split(" ")[0]);
    click(node("Backend"));
    said.dragged = state.selected;
    model.set("svg", state.svg + " ");
    said.stays = view() !== home;
    """
    said = play(GraphWidget(PICTURE), script, tmp_path)
    assert said.pop("dragged") == ""
    assert all(said.values()), said


@in_browser
def test_a_view_that_is_closed_listens_no_more(tmp_path):
    said = play(
        GraphWidget(PICTURE), "stop(); ended(); said.left = Object.values(handlers).map((h) => h.size);", tmp_path
    )
    assert set(said["left"]) == {0}


@in_browser
def test_names_and_notes_are_words_and_no_markup(tmp_path):
    name = '"]<img src=x onerror="window.hit=1">'
    picture = Picture((Node(name, "<b>", entry=True, state="failed", note="<script>hit=1</script>"),), (), name)
    script = """
    const only = $("[data-service]");
    click(only);
    said.name = only.dataset.service;
    said.found = [state.selected === said.name, el.querySelectorAll("img, script, b").length, window.hit ?? 0];
    """
    said = play(GraphWidget(picture), script, tmp_path)
    assert said == {"name": name, "found": [True, 0, 0]}


@in_browser
def test_the_text_stands_in_for_a_drawing_that_could_not_be_made(tmp_path):
    view = GraphWidget(PICTURE)
    view.svg = ""
    assert play(view, 'said.text = $("pre").textContent;', tmp_path) == {"text": text(PICTURE)}
