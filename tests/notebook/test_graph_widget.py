"""The graph widget: its traits in the kernel, and its behaviour in a browser."""

import base64
import json
import re
import shutil
import subprocess
import threading
from html import unescape
from importlib.resources import files

import pytest

from dynamo_nb.drawing.picture import Arrow, Node, Picture
from dynamo_nb.drawing.svg import svg
from dynamo_nb.drawing.text import text
from dynamo_nb.notebook.graph_widget import GraphWidget
from dynamo_nb.notebook.viewers import BEAT
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


def recorded_changes(widget):
    """Returns a list to which the names of changed traits are added from now on."""
    changes = []
    widget.observe(lambda change: changes.append(change["name"]))
    return changes


# --- in the kernel -----------------------------------------------------------------------------------------------


def test_a_widget_has_a_drawing_with_space_for_numbers_and_the_states():
    widget = GraphWidget(PICTURE, "hello-1234", {"Backend": {"workers": "1/4", "gpus": "0,1"}})
    assert widget.svg == svg(PICTURE, live=True)
    assert widget.text == text(PICTURE)
    assert widget.deployment == "hello-1234"
    assert widget.states == {
        "Frontend": {"state": "ready", "note": ""},
        "Backend": {"state": "starting", "note": "1 of 4", "workers": "1/4", "gpus": "0,1"},
    }


def test_a_card_is_made_only_for_the_selected_service():
    described = []

    def card_of(name):
        described.append(name)
        return {"service": name}

    widget = GraphWidget(PICTURE, card_of=card_of)
    widget.show(PICTURE)
    assert described == []
    widget.selected = "Backend"
    assert widget.card == {"service": "Backend"}
    widget.selected = ""
    assert (widget.card, described) == ({}, ["Backend"])


def test_traffic_is_shown_without_a_new_drawing():
    widget = GraphWidget(PICTURE, "hello-1234")
    changes = recorded_changes(widget)
    load = Load(rate=1234.567, p50=0.00123456, p99=None, in_flight=3, errors=0.5, failed=7)
    traffic = Traffic(
        {"Backend": load}, edges={("Frontend", "Backend"): load}, memory={"a": 5, "b": 6}, cpu={"a": 20.0}
    )
    widget.show_traffic(traffic, {"Frontend": [], "Backend": ["a", "b"]}, {"Frontend": 0, "Backend": 3})
    shown = {"rate": 1230.0, "p50": 0.00123, "p99": None, "in_flight": 3, "errors": 0.5, "failed": 7}
    assert widget.loads == {
        "services": {"Backend": {**shown, "memory": 11, "cpu": 20, "restarts": 3}},
        "edges": {"Frontend->Backend": shown},
    }
    assert changes == ["loads"]
    widget.show(PICTURE)
    assert widget.loads == {}  # the graph is not served any more


def test_a_message_from_the_browser_is_passed_on_with_its_widget():
    received = []
    widget = GraphWidget(PICTURE, receive=lambda *arguments: received.append(arguments))
    widget._handle_custom_msg({"do": "restart", "service": "Backend", "id": 1}, [])
    assert received == [(widget, {"do": "restart", "service": "Backend", "id": 1})]


def test_a_new_state_is_sent_without_a_new_drawing():
    widget = GraphWidget(PICTURE)
    changes = recorded_changes(widget)
    widget.show(PICTURE.with_states({"Backend": ("failed", "exit code 1")}))
    assert sorted(changes) == ["states", "text"]
    assert widget.states["Backend"] == {"state": "failed", "note": "exit code 1"}


def test_the_same_picture_again_sends_nothing():
    widget = GraphWidget(PICTURE)
    changes = recorded_changes(widget)
    widget.show(PICTURE)
    assert changes == []


@pytest.mark.parametrize(
    "picture",
    [
        Picture(PICTURE.nodes, (), "Frontend"),
        Picture((*PICTURE.nodes, Node("Cache", "hello")), PICTURE.arrows, "Frontend"),
        PICTURE.with_states({"Backend": ("", "")}),
    ],
    ids=["without an edge", "with another service", "without a line for the state"],
)
def test_a_picture_of_another_shape_is_drawn_again(picture):
    widget = GraphWidget(PICTURE)
    widget.show(picture)
    assert widget.svg == svg(picture, live=True)


def test_the_selection_ends_when_its_service_is_removed():
    widget = GraphWidget(PICTURE)
    widget.selected = "Backend"
    widget.show(PICTURE)
    assert widget.selected == "Backend"
    widget.show(Picture(PICTURE.nodes[:1], (), "Frontend"))
    assert widget.selected == ""


def test_the_output_has_static_forms_for_programs_without_widgets():
    widget = GraphWidget(PICTURE)
    picture = PICTURE.with_states({"Backend": ("ready", "")})
    widget.show(picture)
    data, _ = widget._repr_mimebundle_()
    mark = f'data-dynamo-output="{widget.output_id}" '
    assert data["image/svg+xml"].replace(mark, "") == svg(picture, live=True)
    assert data["image/svg+xml"].startswith(f"<svg {mark}")
    assert data["text/plain"] == text(picture)
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id


def test_a_widget_starts_no_thread():
    before = threading.active_count()
    GraphWidget(PICTURE)
    assert threading.active_count() == before


def test_the_code_that_a_notebook_saves_is_small():
    widget = GraphWidget(PICTURE)
    assert len(widget._esm) + len(widget._css) < 150_000


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
const node = (name) => $(`[data-service="${{name}}"]`), drawing = () => $(".dynamo-drawing > svg"), view = () => drawing().getAttribute("viewBox");
const click = (target) => target.dispatchEvent(new MouseEvent("click", {{ bubbles: true }}));
const press = (target, key) => target.dispatchEvent(new KeyboardEvent("keydown", {{ key, bubbles: true, cancelable: true }}));
const stop = widget.render({{ model, el }});
const result = {{}};
{script}
const out = document.body.appendChild(document.createElement("pre"));
out.id = "result";
out.textContent = JSON.stringify(result);
</script>"""


def run_in_browser(widget, script, tmp_path):
    """Shows the widget in a browser, runs a script there, and returns the object `result` that the script fills."""
    names = ("svg", "text", "deployment", "states", "loads", "card", "selected", "events")
    names += ("detached", "lost", "output_id")
    state = {name: getattr(widget, name) for name in names}
    page = tmp_path / "page.html"
    page.write_text(
        PAGE.format(
            css=widget._css,
            esm=base64.b64encode(widget._esm.encode()).decode(),
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
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr
    return json.loads(unescape(found[1]))


@in_browser
def test_a_click_or_a_key_opens_a_card_and_escape_closes_it(tmp_path):
    script = """
    click(node("Backend").querySelector(".name"));
    result.clicked = [state.selected, $("aside").hidden, $("aside").innerText.split(/\\s+/)];
    result.pressed = node("Backend").getAttribute("aria-pressed");
    press(node("Backend"), "Escape");
    result.escaped = [state.selected, $("aside").hidden];
    node("Frontend").focus();
    press(document.activeElement, "Enter");
    result.entered = state.selected;
    click($("aside button"));
    result.closed = [state.selected, document.activeElement.dataset.service];
    """
    result = run_in_browser(GraphWidget(PICTURE), "model.card(); " + script, tmp_path)
    words = "Backend starting 1 of 4 Overview namespace hello"
    assert result == {
        "clicked": ["Backend", False, words.split()],
        "pressed": "true",
        "escaped": ["", True],
        "entered": "Frontend",
        "closed": ["", "Frontend"],
    }


@in_browser
def test_a_new_state_changes_colour_and_text_in_place(tmp_path):
    script = """
    const before = drawing();
    model.set("states", { ...state.states, Backend: { state: "failed", note: "exit code 1" } });
    result.same = before === drawing();
    result.state = node("Backend").dataset.state;
    result.label = node("Backend").getAttribute("aria-label");
    result.words = node("Backend").querySelector("text.state").textContent;
    result.news = $(".dynamo-visually-hidden").textContent;
    const edge = (name) => getComputedStyle(node(name).querySelector(".state")).fill;
    result.colours = edge("Backend") !== edge("Frontend");
    """
    result = run_in_browser(GraphWidget(PICTURE), script, tmp_path)
    assert result.pop("words").startswith("failed: e")
    assert result == {
        "same": True,
        "state": "failed",
        "label": "Backend, failed: exit code 1",
        "news": "Backend failed: exit code 1",
        "colours": True,
    }


@in_browser
def test_the_drawing_is_zoomed_panned_and_reset(tmp_path):
    script = """
    const wheel = (more) => drawing().dispatchEvent(
      new WheelEvent("wheel", { deltaY: -1, clientX: 50, clientY: 50, bubbles: true, cancelable: true, ...more }));
    const pointer = (type, x) => $(".dynamo-drawing").dispatchEvent(
      new PointerEvent(type, { clientX: x, clientY: 50, button: 0, bubbles: true }));
    $(".dynamo-drawing").setPointerCapture = () => {};  // made-up pointers cannot be captured
    const home = view();
    result.scrolls = wheel({}) && view() === home;
    result.zooms = !wheel({ ctrlKey: true }) && view() !== home;
    press(drawing(), "0");
    result.back = view() === home;
    press(drawing(), "+");
    result.keys = view() !== home;
    press(drawing(), "0");
    pointer("pointerdown", 50); pointer("pointermove", 80); pointer("pointerup", 80);
    result.pans = Number(view().split(" ")[0]) < Number(home.split(" ")[0]);
    click(node("Backend"));
    result.dragged = state.selected;
    model.set("svg", state.svg + " ");
    result.stays = view() !== home;
    """
    result = run_in_browser(GraphWidget(PICTURE), script, tmp_path)
    assert result.pop("dragged") == ""
    assert all(result.values()), result


THREE = Picture(
    (*PICTURE.nodes, Node("Other", "hello", state="ready")),
    (*PICTURE.arrows, Arrow("Frontend", "Other", "other", active=False)),
    "Frontend",
)


@in_browser
def test_a_search_and_the_paths_of_a_service_fade_the_rest(tmp_path):
    script = """
    const bright = () => [...el.querySelectorAll("[data-service].highlight")].map((g) => g.dataset.service).sort();
    const search = $("input[type=search]");
    search.value = "ready";
    search.dispatchEvent(new Event("input"));
    result.found = [bright(), $(".dynamo-matches").textContent];
    press(search, "Enter");
    result.first = $(".dynamo-matches").textContent;
    press(search, "Escape");
    result.all = bright().length;
    node("Backend").focus();
    press(node("Backend"), "f");
    result.paths = [bright(), el.querySelectorAll(".edge.highlight").length];
    press(node("Backend"), "Escape");
    result.again = bright().length;
    """
    assert run_in_browser(GraphWidget(THREE), script, tmp_path) == {
        "found": [["Frontend", "Other"], "2"],
        "first": "1 / 2",
        "all": 3,
        "paths": [["Backend", "Frontend"], 1],
        "again": 3,
    }


@in_browser
def test_edges_and_links_are_reached_with_the_keyboard(tmp_path):
    script = """
    node("Frontend").focus();
    press(node("Frontend"), "e");
    const edge = document.activeElement;
    result.edge = edge.getAttribute("aria-label");
    press(edge, "Enter");
    result.card = [$(".dynamo-edge-card").hidden, document.activeElement.textContent];
    press(edge, "Escape");
    result.closed = $(".dynamo-edge-card").hidden;
    node("Frontend").focus();
    press(node("Frontend"), "l");
    result.hint = $(".dynamo-status-line code").textContent;
    press(node("Other"), "Enter");
    const { id, ...request } = sent.at(-1);
    result.sent = request;
    """
    assert run_in_browser(GraphWidget(THREE), script, tmp_path) == {
        "edge": "Frontend calls Backend",
        "card": [False, "Unlink"],
        "closed": True,
        "hint": "Link Frontend to: choose a service and press Enter. Escape cancels.",
        "sent": {"do": "link", "source": "Frontend", "target": "Other"},
    }


@in_browser
def test_a_closed_view_has_no_listeners_left(tmp_path):
    result = run_in_browser(
        GraphWidget(PICTURE), "stop(); ended(); result.left = Object.values(handlers).map((h) => h.size);", tmp_path
    )
    assert set(result["left"]) == {0}


@in_browser
def test_names_and_notes_are_shown_as_text_and_not_as_markup(tmp_path):
    name = '"]<img src=x onerror="window.hit=1">'
    picture = Picture((Node(name, "<b>", entry=True, state="failed", note="<script>hit=1</script>"),), (), name)
    script = """
    const only = $("[data-service]");
    click(only);
    result.name = only.dataset.service;
    result.found = [state.selected === result.name, el.querySelectorAll("img, script, b").length, window.hit ?? 0];
    """
    result = run_in_browser(GraphWidget(picture), script, tmp_path)
    assert result == {"name": name, "found": [True, 0, 0]}


@in_browser
def test_the_text_form_is_shown_if_there_is_no_drawing(tmp_path):
    widget = GraphWidget(PICTURE)
    widget.svg = ""
    assert run_in_browser(widget, 'result.text = $("pre").textContent;', tmp_path) == {"text": text(PICTURE)}


@in_browser
def test_each_static_drawing_in_the_page_is_replaced_by_the_live_graph_while_it_is_there(tmp_path):
    widget = GraphWidget(PICTURE)
    drawing = json.dumps(widget.static_forms["image/svg+xml"])
    script = f"""
    stop();
    const svgText = {drawing}, outputs = document.body.appendChild(document.createElement("div"));
    const settled = async () => {{ for (let turn = 0; turn < 5; turn++) await null; }};
    const shown = () => [outputs.querySelectorAll(".dynamo-view").length,
      [...outputs.children].filter((one) => one.matches("svg, img") && getComputedStyle(one).display !== "none").length];
    const image = new Image();
    image.src = `data:image/svg+xml,${{encodeURIComponent(svgText)}}`;
    outputs.innerHTML = svgText;
    await settled();
    result.inline = shown();
    outputs.append(image);
    await settled();
    result.image = shown();
    image.remove();
    await settled();
    result.removed = shown();
    outputs.append(image);
    await settled();
    result.again = shown();
    ended();
    result.ended = shown();
    result.left = Object.values(handlers).reduce((sum, each) => sum + each.size, 0);
    """
    assert run_in_browser(widget, script, tmp_path) == {
        "inline": [1, 0],
        "image": [2, 0],
        "removed": [1, 0],
        "again": [2, 0],
        "ended": [0, 2],
        "left": 0,
    }


@in_browser
def test_the_notice_says_why_the_deployment_is_lost_and_what_to_do(tmp_path):
    widget = GraphWidget(PICTURE, "hello-1234")
    script = """
    const notice = $(".dynamo-disconnected"), off = () => [...el.querySelectorAll("[inert]")].length;
    result.before = [notice.hidden, off()];
    model.set("lost", "To connect again: `%dynamo attach hello-1234`");
    result.lost = [notice.hidden, off(), notice.querySelector("code").textContent];
    model.set("lost", "");
    result.after = [notice.hidden, off()];
    """
    assert run_in_browser(widget, script, tmp_path) == {
        "before": [True, 0],
        "lost": [False, 6, "%dynamo attach hello-1234"],
        "after": [True, 0],
    }


def test_a_page_notices_the_end_of_its_kernel_within_three_seconds():
    source = files("dynamo_nb.notebook").joinpath("widget/connection.js").read_text("utf-8")
    silence, check = (
        int(re.search(rf"const {name} = (\d+);", source)[1]) / 1000 for name in ("SILENCE", "CHECK_INTERVAL")
    )
    assert silence + check < 3
    assert silence > 4 * BEAT
