"""What a newcomer does with notebooks/hello_world.ipynb in JupyterLab."""

import json

import pytest
from playwright.sync_api import expect

HELLO = "hello_world.ipynb"
BACKEND = "class Backend:"
LINKED = ".link(Backend)"
SERVED = "await serve("
STOPPED = "await deployment.stop()"

# Four callers, each one call after the other, from threads: the cells of a person run meanwhile.
LOAD = """
from threading import Event, Thread

answers, failures, over = [], [], Event()


def call():
    while not over.is_set():
        try:
            answers.append(deployment.Frontend.ask({"text": "hello"}).result().words)
        except Exception as error:
            failures.append(repr(error))


callers = [Thread(target=call) for _ in range(4)]
for caller in callers:
    caller.start()
"""
LOAD_OVER = """
import json

over.set()
for caller in callers:
    caller.join()
print(json.dumps([answers, failures]))
"""


@pytest.fixture
def served(open_notebook):
    """The notebook, run until its graph is served."""

    def served(*cells):
        notebook = open_notebook(HELLO, *cells)
        notebook.run_to(SERVED)
        assert notebook.errors() == []
        notebook.show(SERVED)
        return notebook, notebook.graph(SERVED)

    return served


def test_run_all_shows_the_graph_live_from_start_to_stop(open_notebook, lab):
    notebook = open_notebook(HELLO)
    lab.screenshot("opened")
    notebook.forget_states()
    notebook.run_all()
    assert notebook.errors() == []
    states = notebook.seen_states(SERVED, "Backend")
    for cell, step in ((LINKED, "drawn"), (SERVED, "served"), (STOPPED, "end")):
        notebook.show(cell)
        lab.screenshot(step)
    assert (states[0], states[-1]) == ("ready", "stopped")
    assert states.count("starting") == 2  # its cell was changed, and later it was scaled
    notebook.graph(SERVED).is_in_state(Frontend="stopped", Middle="stopped", Backend="stopped")


def test_a_node_is_opened_with_the_mouse_and_with_the_keyboard(served, lab):
    _, graph = served()
    graph.is_in_state(Frontend="ready", Middle="ready", Backend="ready")
    lab.screenshot("ready")
    graph.node("Backend").click()
    expect(graph.card("Backend")).to_contain_text("workers")
    lab.screenshot("clicked")
    lab.page.keyboard.press("Escape")
    expect(graph.card("Backend")).to_be_hidden()
    expect(graph.node("Backend")).to_be_focused()
    graph.node("Frontend").focus()
    lab.page.keyboard.press("Enter")
    expect(graph.card("Frontend")).to_be_visible()
    lab.screenshot("entered")


def test_the_graph_follows_the_theme(served, lab):
    _, graph = served()
    graph.node("Middle").click()
    seen = {}
    for theme in ("light", "dark"):
        lab.theme(theme)
        lab.screenshot(theme)
        seen[theme] = graph.node("Middle").locator(".name").evaluate("(name) => getComputedStyle(name).fill")
    lab.theme("light")
    assert sum(_channels(seen["light"])) < 200
    assert sum(_channels(seen["dark"])) > 560


def _channels(colour):
    return [int(part) for part in colour.strip("rgb()").split(",")]


def test_an_edited_service_is_replaced_under_load_without_a_failed_call(served, lab):
    notebook, graph = served(LOAD, LOAD_OVER)
    notebook.run("callers = [")
    notebook.show(BACKEND)
    notebook.forget_states()
    notebook.replace(BACKEND, "decorate(word, self.suffix)", "decorate(word.upper(), self.suffix)")
    lab.screenshot("edited")
    assert "replaced Backend in" in notebook.text(BACKEND)
    notebook.show(SERVED)
    graph.is_in_state(Backend="ready")
    lab.screenshot("replaced")
    notebook.run("over.set()")
    answers, failures = json.loads(notebook.text("over.set()"))
    assert failures == []
    words = [word for (word,) in answers]
    assert set(words) == {"hello!", "HELLO!"}
    assert words[-4:] == ["HELLO!"] * 4
    assert notebook.seen_states(SERVED, "Backend") == ["starting", "ready"]
    assert notebook.seen_states(SERVED, "Middle") == []


def test_a_version_that_does_not_start_leaves_the_old_one_serving_and_its_error_under_the_cell(served, lab):
    notebook, graph = served("print(await deployment.Frontend.ask({'text': 'still'}))")
    notebook.replace(BACKEND, "self.suffix = suffix", 'raise OSError("no such model")')
    notebook.show(BACKEND)
    lab.screenshot("error")
    (error,) = notebook.errors()
    assert "no such model" in error
    notebook.show(SERVED)
    graph.is_in_state(Backend="ready", Frontend="ready")
    lab.screenshot("graph")
    notebook.run("'still'")
    assert "still!" in notebook.text("'still'")


def test_a_link_that_is_edited_in_its_cell_moves_the_served_edge(served, lab):
    notebook, graph = served("print(await deployment.Frontend.ask({'text': 'a b'}))")
    notebook.replace(LINKED, ".link(Backend)", ".link(Backend2)")
    graph.is_in_state(Backend2="ready")
    expect(graph.node("Backend")).not_to_have_attribute("data-state", "ready")
    notebook.show(".link(Backend2)")
    lab.screenshot("drawn")
    notebook.show(SERVED)
    lab.screenshot("served")
    notebook.run("'a b'")
    assert "['b', 'a']" in notebook.text("'a b'")


def test_a_restarted_kernel_stops_what_it_served_and_runs_again(served, lab):
    notebook, _ = served()
    notebook.restart()
    lab.screenshot("restarted")
    notebook.run_to(SERVED)
    assert notebook.errors() == []
    notebook.graph(SERVED).is_in_state(Frontend="ready", Backend="ready")
