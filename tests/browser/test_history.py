"""The errors of a service on its card, and the events of a deployment below the graph."""

import re
import time

import pytest
from playwright.sync_api import expect
from widget_page import WidgetPage

from dynamo_nb.control.events import Event
from dynamo_nb.drawing.picture import Arrow, Node, Picture
from dynamo_nb.notebook.graph_widget import GraphWidget

FAILING = """from dynamo_nb import dynamo_endpoint, service

@service
class Fragile:
    @dynamo_endpoint()
    async def ask(self, text: str) -> str:
        raise ValueError(f"no answer to {text}")"""
SERVE = """fragile = await serve(Fragile)
fragile"""
CALL = """for number in range(20):
    try:
        await fragile.Fragile.ask(f"question {number}")
    except Exception:
        pass"""
KILL = """import os, signal

os.kill(fragile.status.services["Fragile"].workers[0].pid, signal.SIGKILL)"""
TABLES = """%dynamo events
%dynamo errors"""


@pytest.fixture
def fragile(open_hello, lab):
    """A notebook that serves a service of which every call fails. Returns it and the live graph."""
    notebook = open_hello(FAILING, SERVE, CALL, KILL, TABLES)
    for cell in ("%load_ext", "class Fragile", "await serve(Fragile)"):
        notebook.run(cell)
    assert notebook.errors() == []
    notebook.show("await serve(Fragile)")
    graph = notebook.graph("await serve(Fragile)")
    graph.is_in_state(Fragile="ready")
    return notebook, graph


def test_the_card_of_a_failing_service_shows_what_fails(fragile, lab):
    notebook, graph = fragile
    card = graph.open("Fragile", "Overview")
    expect(card.get_by_role("tab", name="Errors")).to_be_hidden()
    notebook.run(CALL)
    notebook.show("await serve(Fragile)")
    last = card.get_by_role("button", name="ValueError: no answer to question 19")
    expect(last).to_be_visible()
    lab.screenshot("last error")
    last.click()
    error = card.get_by_role("region", name="ValueError")
    expect(error).to_contain_text("ValueError no answer to question 19")
    expect(error).to_contain_text(re.compile(r'20 times in ask, last \d+ s ago\s*at cell \d+ "Fragile", line 7'))
    error.get_by_text("Traceback", exact=True).click()
    expect(error.locator("pre")).to_contain_text('raise ValueError(f"no answer to {text}")')
    expect(error.locator("pre")).to_contain_text(re.compile(r'cell \d+ "Fragile", line 7'))
    lab.screenshot("traceback")
    notebook.run(CALL)
    expect(error).to_contain_text("40 times in ask")
    expect(error.locator("pre")).to_be_visible()


def test_a_crash_and_its_restart_are_listed_below_the_graph(fragile, lab):
    notebook, graph = fragile
    events = graph.view.locator(".dynamo-events")
    expect(events.locator("> summary")).to_contain_text("serves 1 service with 1 worker")
    notebook.run(KILL)
    notebook.show("await serve(Fragile)")
    expect(events.locator("> summary")).to_contain_text("Fragile[0] was restarted and takes requests")
    events.locator("> summary").click()
    texts = events.locator("li")
    expect(texts).to_have_text(
        [
            re.compile(r"\d\d:\d\d:\d\d\s*Fragile\[0\] was restarted and takes requests"),
            re.compile(r"\d\d:\d\d:\d\d\s*Fragile\[0\] ended by itself, killed by signal 9 \(SIGKILL\)"),
            re.compile("serves 1 service with 1 worker"),
            re.compile("the supervisor started, owned by"),
        ]
    )
    expect(texts.nth(1).locator(".dynamo-failing")).to_be_visible()
    card = graph.open("Fragile", "Workers")
    expect(card).to_contain_text(re.compile(r"restarts\s*1"))
    expect(card).to_contain_text(re.compile(r"CPU\s*\d+ %"))
    lab.screenshot("events")


def test_the_verbs_show_tables_in_a_notebook(fragile, lab):
    notebook, _ = fragile
    notebook.run(CALL)
    expect(notebook.cell(TABLES)).to_be_attached()
    notebook.run(TABLES)
    assert notebook.errors() == []
    notebook.show(TABLES)
    output = notebook.cell(TABLES).locator(".jp-OutputArea")
    expect(output).to_contain_text("serves 1 service with 1 worker")
    expect(output).to_contain_text("ValueError no answer to question 19")
    lab.screenshot("tables")


PICTURE = Picture(
    (Node("Frontend", "hello", entry=True, state="ready"), Node("Backend", "hello", state="failed")),
    (Arrow("Frontend", "Backend", "backend"),),
    "Frontend",
)
TEXTS = [
    ("started", "serves 2 services with 3 workers", ""),
    ("scaled", "Backend was scaled from 1 to 2 workers", ""),
    (
        "change failed",
        "an update failed, and the old version still serves: Backend did not start: ValueError: x " * 2,
        "log",
    ),
    (
        "worker ended",
        "Backend[0] ended by itself, killed by signal 9 (SIGKILL), probably because memory ran out",
        "log\n" * 30,
    ),
]
ERRORS = [
    {
        "id": str(n),
        "endpoint": "generate",
        "kind": kind,
        "message": message,
        "origin": 'at cell 12 "Backend", line 44',
        "count": count,
        "last": time.time() - 3,
        "traceback": "Traceback (most recent call last):\n  cell 12, line 44, in generate\n    raise ValueError\n",
    }
    for n, (kind, message, count) in enumerate(
        [("ValueError", "a message " * 30, 12_345), ("AVeryLongNameOfAnExceptionThatNobodyWouldType", "x" * 300, 1)]
    )
]
CARD = {"rows": [["namespace", "hello"]], "desired": 1, "workers": [], "errors": ERRORS}
LOAD = {
    "rate": 1.0,
    "p50": 0.1,
    "p99": 0.2,
    "in_flight": 1,
    "errors": 20.0,
    "failed": 123_456,
    "cpu": 1234,
    "memory": 2**30,
    "restarts": 12,
}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [350, 800, 1600])
def test_errors_and_events_fit_their_column(page, width, dark):
    events = [
        Event(number=n, at=time.time() - 100 + n, kind=kind, text=text, detail=detail)
        for n, (kind, text, detail) in enumerate(TEXTS, 1)
    ]
    widget = GraphWidget(PICTURE, "hello-12345678", {"Backend": {"workers": "1/1", "gpus": ""}}, events)
    widget.loads = {"services": {"Backend": LOAD}, "edges": {}}
    shown = WidgetPage(page, widget, width, dark=dark, card=CARD)
    name = f"history-{width}-{'dark' if dark else 'light'}"
    shown.open("Backend")
    shown.screenshot(f"{name}-overview")
    shown.open("Backend", "Errors")
    shown.output.locator(".dynamo-events > summary").click()
    shown.output.locator(".dynamo-event-list summary").first.click()
    shown.settle()
    shown.screenshot(f"{name}-errors")
    assert shown.output.evaluate("(output) => output.scrollWidth <= output.clientWidth")
    for part in (".dynamo-errors", ".dynamo-event-list"):
        assert shown.output.locator(part).evaluate("(part) => part.scrollWidth <= part.clientWidth")
