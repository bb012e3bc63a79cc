"""The live graph in a tab of its own, which stays open beside the notebook."""

import pytest
from lab_page import Graph
from playwright.sync_api import expect

FITS = 16  # pixels between the end of the drawing and the end of the tab
# JupyterLab itself reports these when a notebook is closed after a view of one of its outputs.
OF_JUPYTERLAB = ("reading 'changed'", "Could not restore the debugger state")


@pytest.fixture
def lab(lab):
    yield lab
    lab.problems[:] = [problem for problem in lab.problems if not any(known in problem for known in OF_JUPYTERLAB)]


@pytest.fixture
def tab(served, lab):
    """The graph of a deployment in a tab of its own, opened with the context menu of its output."""
    notebook, graph = served()
    graph.is_in_state(Frontend="ready", Middle="ready", Backend="ready")
    graph.view.locator(".dynamo-toolbar").click(button="right")
    lab.page.get_by_role("menuitem", name="Create New View for Cell Output").click()
    view = lab.page.locator(".jp-LinkedOutputView")
    view.locator(".dynamo-view").wait_for()
    yield view
    lab.page.locator(".lm-TabBar-tab", has_text="Output View").locator(".lm-TabBar-tabCloseIcon").click()
    expect(view).to_have_count(0)
    notebook.panel.locator(".jp-NotebookPanel-toolbar").click(position={"x": 5, "y": 5})


def scrollable(view):
    """Returns the elements of the tab that have a scroll bar, without the content of a card."""
    return view.evaluate("""(view) => [view, ...view.querySelectorAll("*")].filter((each) =>
      !each.closest(".dynamo-card") && /auto|scroll/.test(getComputedStyle(each).overflowY) && each.scrollHeight > each.clientHeight && each.clientHeight > 0)
      .map((each) => each.className)""")


def is_filled(view):
    """Waits until the drawing ends where the line of the events begins, and that ends where the tab ends."""
    view.page.wait_for_function(
        """([view, apart]) => {
          const [drawing, events] = [".dynamo-body", ".dynamo-events"].map((part) => view.querySelector(part).getBoundingClientRect());
          const isNear = (one, other) => Math.abs(one - other) <= apart;
          return isNear(drawing.bottom, events.top) && isNear(events.bottom, view.getBoundingClientRect().bottom);
        }""",
        arg=[view.element_handle(), FITS],
    )


def test_the_page_in_a_tab_of_its_own_has_the_size_of_the_tab(tab, lab):
    graph = Graph(tab.locator(".dynamo-view"))
    is_filled(tab)
    assert scrollable(tab) == []
    lab.screenshot("tab")
    before = graph.node("Backend").bounding_box()["width"]
    lab.page.set_viewport_size({"width": 1600, "height": 1300})
    is_filled(tab)
    lab.page.wait_for_function(
        "([node, width]) => node.getBoundingClientRect().width > 1.2 * width",
        arg=[graph.node("Backend").element_handle(), before],
    )
    lab.screenshot("high")
    card = graph.open("Backend", "Workers")
    expect(card.get_by_role("tabpanel")).to_contain_text("pid")
    is_filled(tab)
    assert scrollable(tab) == []
    lab.screenshot("card")
    graph.close()
    graph.click_edge("Frontend", "Middle")
    expect(graph.view.get_by_role("group", name="Frontend to Middle")).to_be_visible()
    assert scrollable(tab) == []
    lab.page.set_viewport_size({"width": 700, "height": 560})
    graph.open("Backend")
    lab.screenshot("small")
    assert len(scrollable(tab)) <= 1
    lab.page.set_viewport_size({"width": 1280, "height": 900})
    graph.close()
