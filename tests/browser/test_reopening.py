"""Graphs in JupyterLab and Notebook 7: without their kernel, in a saved notebook that is opened again, and their keys."""

import subprocess
import sys
from contextlib import ExitStack

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import expect

GRAPH = "%dynamo graph Frontend"
SERVED = "await serve("
CELLS = [
    "%load_ext dynamo_nb\nfrom dynamo_nb import depends, dynamo_endpoint, serve, service",
    """@service
class Backend:
    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return text""",
    """@service
class Frontend:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return await self.backend.generate(text)""",
    GRAPH,
    "deployment = await serve(Frontend, http_port=0)\ndeployment",
]
WIDGET = "application/vnd.jupyter.widget-view+json"
SVG = "image/svg+xml"


@pytest.fixture
def written(tmp_path):
    """A notebook that was never run. The user who runs and saves it trusts it."""
    path = tmp_path / "written.ipynb"
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    cells = [new_code_cell(text) for text in CELLS]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def test_a_saved_notebook_shows_the_last_drawing_after_its_kernel_has_ended(front_end, opened, written):
    with opened(written, app=front_end) as notebook:
        notebook.run_to(SERVED)
        assert notebook.errors() == []
        for cell in (GRAPH, SERVED):
            notebook.graph(cell).is_in_state(Frontend="ready", Backend="ready")
        front_end.screenshot("live")
        path = notebook.save()
    saved = nbformat.read(path, 4)
    shown = [output.data for cell in saved.cells for output in cell.outputs if SVG in output.get("data", {})]
    assert len(shown) == 2
    assert not [data for data in shown if WIDGET in data]
    assert all('data-state="ready"' in data[SVG] for data in shown)

    front_end.reload()
    notebook = front_end.reopen(path.name)
    for cell in (GRAPH, SERVED):
        drawing = notebook.cell(cell).locator(".jp-RenderedSVG img")
        expect(drawing).to_be_visible()
        assert drawing.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") > 300
    front_end.screenshot("reopened")
    expect(notebook.panel.get_by_text("Error displaying widget")).to_have_count(0)
    expect(notebook.panel.locator(".dynamo-view")).to_have_count(0)
    notebook.close()

    subprocess.run([sys.executable, "-m", "nbconvert", "--to", "html", path], check=True, capture_output=True)
    page = path.with_suffix(".html").read_text()
    assert page.count('data-mime-type="image/svg+xml"') == 2
    assert "https://cdn.jsdelivr.net/npm/@jupyter-widgets" not in page
    assert "model_id" not in page


PID = "import os\n\nprint(os.getpid())"
BUSY = "import time\n\nend = time.monotonic() + 8\nwhile time.monotonic() < end:\n    pass"
_SEEN_NOTICES = """
window.seenNotices = 0;
new MutationObserver((changes) => {
  for (const { target } of changes) if (target.matches(".dynamo-disconnected") && !target.hidden) window.seenNotices++;
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["hidden"] });
"""


@pytest.fixture
def served(front_end, opened, written):
    """Opens a notebook with more cells, and serves its graph. Returns it with the live graph."""
    with ExitStack() as stack:

        def served(*cells):
            notebook = stack.enter_context(opened(written, *cells, app=front_end))
            notebook.run_to(SERVED)
            assert notebook.errors() == []
            graph = notebook.graph(SERVED)
            graph.is_in_state(Frontend="ready", Backend="ready")
            front_end.page.evaluate(_SEEN_NOTICES)
            return notebook, graph

        yield served


def notice(graph):
    return graph.view.get_by_role("status").filter(has_text="Disconnected")


def is_off(graph):
    """Waits until the page says that it is disconnected. No control of it can be used, and no key reaches the notebook."""
    expect(notice(graph)).to_contain_text("last seen")
    assert graph.view.locator("button:visible, input:visible, [tabindex='0']:visible").count() > 5
    usable = "(view) => [...view.querySelectorAll('button, input, [tabindex]')].filter((one) => !one.closest('[inert]')).length"
    assert graph.view.evaluate(usable) == 0


def test_a_page_whose_kernel_was_restarted_says_so_until_the_cell_runs_again(front_end, served):
    notebook, graph = served()
    graph.open("Backend", "Endpoints").get_by_role("textbox", name="text").fill("typed")
    notebook.restart()
    is_off(graph)
    expect(notice(graph)).to_contain_text("run the cells again")
    front_end.screenshot("restarted")
    notebook.run_to(SERVED)
    assert notebook.errors() == []
    again = notebook.graph(SERVED)
    again.is_in_state(Frontend="ready", Backend="ready")
    expect(notice(again)).to_be_hidden()
    again.open("Backend", "Endpoints").get_by_role("textbox", name="text").fill("typed")


def test_a_page_whose_kernel_died_says_so(front_end, served):
    notebook, graph = served(PID)
    notebook.run(PID)
    psutil.Process(int(notebook.text(PID))).kill()
    is_off(graph)
    front_end.page.get_by_role("dialog").get_by_role("button", name="Ok").click()
    front_end.screenshot("died")
    assert "ready" in graph.node("Backend").get_attribute("data-state")


def test_a_page_comes_back_when_its_connection_does_with_what_was_typed(front_end, served):
    _, graph = served()
    field = graph.open("Backend", "Endpoints").get_by_role("textbox", name="text")
    field.fill("typed")
    front_end.page.evaluate("""() => {
      const { kernel } = jupyterapp.shell.currentWidget.sessionContext.session;
      window.silence = { socket: kernel._ws, deliver: kernel._ws.onmessage };
      kernel._ws.onmessage = () => {};
    }""")
    is_off(graph)
    expect(graph.view).to_be_focused()
    front_end.screenshot("silent")
    front_end.page.evaluate("() => { silence.socket.onmessage = silence.deliver; }")
    expect(notice(graph)).to_be_hidden()
    expect(field).to_be_focused()
    expect(field).to_have_value("typed")
    field.press("Control+Enter")
    graph.did("await deployment.Backend.generate(text='typed')")


def test_a_page_stays_connected_while_a_long_cell_runs(front_end, served):
    notebook, graph = served(BUSY)
    notebook.run(BUSY)
    graph.is_in_state(Frontend="ready", Backend="ready")
    assert front_end.page.evaluate("seenNotices") == 0


DETACH = "await deployment.detach()\nawait deployment.disconnect()"
ATTACH = "again = %dynamo attach"


def test_a_page_that_lost_its_deployment_names_the_line_that_connects_again(front_end, served):
    notebook, graph = served(DETACH, ATTACH, "await again.stop()")
    notebook.run(DETACH)
    is_off(graph)
    expect(notice(graph)).to_contain_text("%dynamo attach frontend-")
    front_end.screenshot("detached")
    notebook.run(ATTACH)
    expect(notice(graph)).to_be_hidden()
    graph.is_in_state(Frontend="ready", Backend="ready")
    notebook.run("await again.stop()")
    graph.is_in_state(Frontend="stopped", Backend="stopped")


CLICKS = {
    "a node": lambda graph: graph.node("Backend").click(),
    "an edge": lambda graph: graph.click_edge("Frontend", "Backend"),
    "the empty drawing": lambda graph: graph.drawing.click(position={"x": 5, "y": 5}),
    "the text of a card": lambda graph: graph.open("Backend").locator("header").first.click(),
    "the toolbar": lambda graph: graph.view.locator(".dynamo-toolbar").click(),
}


def test_a_key_pressed_after_a_click_in_the_page_does_not_reach_the_notebook(front_end, served):
    notebook, graph = served()
    before = [(cell["kind"], cell["source"], cell["count"]) for cell in notebook.cells()]
    for place, click in CLICKS.items():
        click(graph)
        for key in [*"xrmyabddzcvjk1soi", "Shift+M", "Shift+V", "Shift+L"]:  # shortcuts of notebooks
            front_end.page.keyboard.press(key)
        assert [(cell["kind"], cell["source"], cell["count"]) for cell in notebook.cells()] == before, place
        expect(front_end.page.get_by_role("dialog")).to_have_count(0)
        front_end.page.keyboard.press("Escape")
