"""Edits in the browser: states while workers start, the mark of a failed edit, and code that goes to a new cell."""

import re

from playwright.sync_api import expect
from test_widths import CARD, HELLO
from widget_page import WidgetPage

from dynamo_nb.notebook.graph_widget import GraphWidget

UPDATING = re.compile(r"^Backend, updating: 2 old serve, 0 of 2 new ready")
EDITED = re.compile(r"^Backend, ready: edited, not served")


def has_cell(lab, number, source):
    """Waits until the notebook has a cell with this source, which is not run."""
    lab.page.wait_for_function(
        "([number, source]) => jupyterapp.shell.currentWidget.content.widgets[number].model.sharedModel.getSource() === source",
        arg=[number, source],
    )


def confirm(lab, count):
    """Confirms that the page may add a cell to `count` cells: newer versions of JupyterLab ask."""
    added = f"jupyterapp.shell.currentWidget.content.widgets.length > {count}"
    lab.page.wait_for_function(f"document.querySelector('.jp-Dialog') || {added}")
    if lab.page.locator(".jp-Dialog").is_visible():
        lab.page.get_by_role("dialog").get_by_role("button", name=re.compile("^Run")).click()
    lab.page.wait_for_function(added)


def backend_source(notebook):
    return notebook.cells()[notebook.number("class Backend:")]["source"]


def test_a_first_start_an_update_and_a_failed_edit_say_who_serves(open_hello, lab, gate):
    notebook = open_hello()
    notebook.run_to("%dynamo config Frontend")
    source = backend_source(notebook)
    source = source.partition("\n\n\nawait ")[0]  # without the call in the kernel, which the gate would block
    gated = source.replace("self.suffix = suffix", gate.code)
    gate.close()
    notebook.edit("class Backend:", gated)
    notebook.run(gated)
    before = notebook.graph("%dynamo graph")
    wait = notebook.start("await serve(")
    notebook.show("%dynamo graph")
    before.is_in_state(Backend="starting", Frontend="starting")
    expect(before.node("Backend")).to_have_accessible_name(re.compile(r"starting: 0 of 2 ready"))
    lab.screenshot("first-start")
    gate.open()
    wait()
    assert notebook.errors() == []
    before.is_in_state(Backend="ready", Frontend="ready")

    gate.close()
    changed = gated.replace("decorate(word,", "decorate(word.upper(),")
    assert changed != gated
    notebook.edit(gated, changed)
    notebook.forget_states()
    wait = notebook.start(changed)
    notebook.show("%dynamo graph")
    expect(before.node("Backend")).to_have_accessible_name(UPDATING)
    assert "starting" not in notebook.seen_states("%dynamo graph", "Backend")
    lab.screenshot("update")
    gate.open()
    wait()
    before.is_in_state(Backend="ready")

    broken = source.replace("self.suffix = suffix", 'raise OSError("no weights here")')
    notebook.edit(changed, broken)
    notebook.run(broken)
    outputs = notebook.cells()[notebook.number(broken)]["outputs"]
    assert sum("The old version of Backend still serves." in str(output) for output in outputs) == 1
    notebook.show("%dynamo graph")
    expect(before.node("Backend")).to_have_accessible_name(EDITED)
    lab.screenshot("edited")
    lab.theme("dark")
    lab.screenshot("edited-dark")
    lab.theme("light")
    card = before.open("Backend")
    expect(card).to_contain_text("edited, not served")
    before.close()
    notebook.edit(broken, source)
    notebook.run(source)
    notebook.show("%dynamo graph")
    expect(before.node("Backend")).to_have_accessible_name(re.compile(r"^Backend, ready, 2/2 workers"))


def test_edits_with_the_mouse_are_copied_to_new_cells(front_end, opened):
    with opened("hello_world.ipynb", app=front_end) as notebook:
        notebook.run_to("await serve(")
        notebook.show("await serve(")
        graph, lab = notebook.graph("await serve("), front_end
        count = len(notebook.cells())
        at = notebook.number("await serve(")
        card = graph.open("Backend")
        card.get_by_role("button", name="Add one worker").click()
        graph.did("await deployment.scale(Backend=3)")
        expect(graph.view.locator(".dynamo-edits")).to_be_hidden()
        graph.close()
        graph.status_line.get_by_role("button", name="Copy to a new cell").click()
        confirm(lab, count)
        has_cell(lab, at + 1, "await deployment.scale(Backend=3)")
        lab.screenshot("new-cell")

        notebook.show("await serve(")
        graph.act_on_edge("Middle", "Backend2", "Link")
        graph.did("Middle.link(Backend2)")
        graph.close_edge("Middle", "Backend2")
        edits = graph.view.locator(".dynamo-edits")
        edits.get_by_text("2 edits with the mouse").click()
        expect(edits.locator("code")).to_have_text(["await deployment.scale(Backend=3)", "Middle.link(Backend2)"])
        lab.screenshot("edits", graph.view)
        lab.theme("dark")
        lab.screenshot("edits-dark", graph.view)
        lab.theme("light")
        for width in (350, 1600):
            graph.view.evaluate("(view, width) => { view.style.width = `${width}px`; }", width)
            lab.screenshot(f"edits-{width}", graph.view)
        graph.view.evaluate("(view) => { view.style.width = ''; }")
        edits.get_by_role("listitem").nth(1).get_by_role("button", name="Copy to a new cell").click()
        confirm(lab, count + 1)
        has_cell(lab, at + 1, "Middle.link(Backend2)")
        assert len(notebook.cells()) == count + 2
        notebook.run("Middle.link(Backend2)")
        assert notebook.errors() == []


def test_a_page_that_adds_no_cells_copies_an_edit_to_the_clipboard(page):
    shown = WidgetPage(page, GraphWidget(HELLO, "frontend-1"), 800, card=CARD)
    shown.open("Backend").get_by_role("button", name="Add one worker").click()
    page.wait_for_function("window.sent?.do === 'scale'")
    page.evaluate("model.receive({ id: sent.id, code: 'await deployment.scale(Backend=3)' })")
    page.evaluate("model.receive({ id: sent.id, done: true, value: null, seconds: 0.1 })")
    button = page.get_by_role("button", name="Copy to a new cell")
    button.click()
    expect(button).to_have_attribute("title", "copied to the clipboard: this page adds no cells")
    page.evaluate("document.body.prepend(Object.assign(document.createElement('textarea'), { id: 'paste' }))")
    page.locator("#paste").click()
    page.keyboard.press("Control+v")
    expect(page.locator("#paste")).to_have_value("await deployment.scale(Backend=3)")
