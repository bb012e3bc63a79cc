"""The live graph of hello_world, used with the mouse, the keyboard and a screen reader.

All tests share one deployment, and none of them changes it.
"""

import re

import pytest
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def served_notebook(shared_lab, opened):
    shared_lab.begin("looking")
    with opened("hello_world.ipynb") as notebook:
        notebook.run_to("await serve(")
        assert notebook.errors() == []
        yield notebook


@pytest.fixture
def graph(lab, served_notebook):
    """The live graph of the deployment, without an open card."""
    served_notebook.show("await serve(")
    graph = served_notebook.graph("await serve(")
    graph.is_in_state(Frontend="ready", Middle="ready", Backend="ready")
    graph.close()
    return graph


def test_a_card_shows_workers_and_configuration_without_overlaps(graph, lab):
    lab.screenshot("ready")
    card = graph.open("Backend", "Overview")
    expect(card).to_contain_text("@service of Backend")
    lab.screenshot("overview")
    assert overlaps(card) == []
    for tab, words in (("Workers", "pid"), ("Configuration", "suffix")):
        card.get_by_role("tab", name=tab).click()
        expect(card.get_by_role("tabpanel")).to_contain_text(words)
        lab.screenshot(tab.lower())
        assert overlaps(card) == []


def overlaps(card):
    """Returns pairs of texts in a card that overlap."""
    return card.evaluate("""(card) => {
      const words = [...card.querySelectorAll("dt, dd, th, td")].filter((cell) => cell.offsetParent && cell.textContent);
      const boxes = words.map((cell) => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        return [cell.textContent, range.getBoundingClientRect()];
      });
      const over = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3;
      return boxes.flatMap(([one, a], at) => boxes.slice(at + 1).filter(([, b]) => over(a, b)).map(([two]) => [one, two]));
    }""")


@pytest.mark.parametrize(("width", "theme"), [(750, "dark"), (1300, "light"), (2000, "dark")])
def test_every_tab_of_a_card_fits_its_column(width, theme, graph, lab):
    lab.theme(theme)
    lab.page.set_viewport_size({"width": width, "height": 1000})
    card = graph.open("Frontend", "Configuration")
    for name in ("Overview", "Endpoints", "Routes", "Workers", "Log", "Configuration"):
        tab = card.get_by_role("tab", name=name)
        tab.click()
        lab.screenshot(name.lower())
        wide = card.get_by_role("tabpanel").evaluate("""(panel) => [...panel.querySelectorAll("*")].filter((each) =>
          each.getBoundingClientRect().right > panel.getBoundingClientRect().right + 1 && each.checkVisibility()
          && !each.closest("pre, svg")).map((each) => each.outerHTML.slice(0, 80))""")
        assert wide == [], name
        assert overlaps(card) == []
    lab.page.set_viewport_size({"width": 1280, "height": 900})
    lab.theme("light")


def test_a_streaming_endpoint_is_called_from_its_form(graph, lab):
    card = graph.open("Backend", "Endpoints")
    card.get_by_role("textbox", name="text").fill("hello big world")
    card.get_by_role("button", name="Call").click()
    expect(card.get_by_role("log", name="Answer").locator(".dynamo-item")).to_have_text(
        re.compile("hello!\\s*big!\\s*world!")
    )
    graph.did("async for item in deployment.Backend.generate(text='hello big world'): print(item)")
    lab.screenshot("streamed")


def test_an_endpoint_with_a_model_is_called_from_its_form(graph, lab):
    card = graph.open("Frontend", "Endpoints")
    card.get_by_role("button", name="ask", exact=True).click()
    field = card.get_by_role("textbox", name="request.text")
    lab.screenshot("form")
    field.fill("hello")
    card.get_by_role("checkbox", name="request.shout").check()
    field.press("Control+Enter")
    expect(card.get_by_role("log", name="Answer")).to_contain_text('"HELLO!"')
    lab.screenshot("answered")
    card.get_by_role("checkbox", name="raw JSON").check()
    field = card.get_by_role("textbox", name="Arguments as JSON")
    expect(field).to_have_value(re.compile('"text": "hello",\\s*"shout": true'))
    field.fill('{"request": {"text": 3}}')
    field.press("Control+Enter")
    expect(graph.status_line).to_have_attribute("data-outcome", "failed")
    expect(card.get_by_role("log", name="Answer")).to_contain_text("text")
    lab.screenshot("refused")


def test_the_graph_follows_the_theme(graph, lab):
    graph.open("Middle")
    seen = {}
    for theme in ("light", "dark"):
        lab.theme(theme)
        lab.screenshot(theme)
        seen[theme] = graph.node("Middle").locator(".name").first.evaluate("(name) => getComputedStyle(name).fill")
    lab.theme("light")
    assert sum(_channels(seen["light"])) < 200
    assert sum(_channels(seen["dark"])) > 560


def _channels(colour):
    return [int(part) for part in colour.strip("rgb()").split(",")]


def test_an_endpoint_is_called_with_the_keyboard_alone(graph, lab):
    keyboard = lab.page.keyboard
    graph.view.get_by_role("searchbox").focus()
    keyboard.type("Middle")
    keyboard.press("Enter")
    keyboard.press("Escape")
    expect(graph.node("Middle")).to_be_focused()
    keyboard.press("ArrowLeft")
    expect(graph.node("Frontend")).to_be_focused()
    for _ in range(2):
        keyboard.press("ArrowRight")
    expect(graph.node("Backend")).to_be_focused()
    lab.screenshot("focused")
    keyboard.press("Enter")
    card = graph.card("Backend")
    press_until(lab.page, "Tab", card.get_by_role("tab", selected=True))
    press_until(lab.page, "ArrowRight", card.get_by_role("tab", name="Endpoints"))
    press_until(lab.page, "Tab", card.get_by_role("textbox", name="text"))
    keyboard.press("Control+Enter")
    expect(graph.status_line).to_have_attribute("data-outcome", "done")
    lab.screenshot("called")
    keyboard.press("Escape")
    expect(card).to_be_hidden()
    expect(graph.node("Backend")).to_be_focused()
    keyboard.press("?")
    expect(graph.view.get_by_role("group", name="Keyboard shortcuts")).to_be_visible()
    lab.screenshot("keys")


def test_the_wheel_over_the_graph_scrolls_the_notebook(graph, served_notebook):
    box = graph.drawing.bounding_box()
    before = graph.view.bounding_box()["y"]
    graph.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    graph.page.mouse.wheel(0, 60)
    graph.page.wait_for_function(
        "([view, y]) => view.getBoundingClientRect().y < y - 50", arg=[graph.view.element_handle(), before]
    )


CLICKS = {
    "a node": lambda graph: graph.node("Backend").click(),
    "an edge": lambda graph: graph.click_edge("Middle", "Backend"),
    "the empty drawing": lambda graph: graph.drawing.click(position={"x": 5, "y": 5}),
    "the text of a card": lambda graph: graph.card("Backend").locator("header").first.click(),
    "a tab of a card": lambda graph: graph.card("Backend").get_by_role("tab", name="Workers").click(),
    "the toolbar": lambda graph: graph.view.locator(".dynamo-toolbar").click(),
}


@pytest.mark.parametrize("place", CLICKS)
def test_a_key_pressed_after_a_click_in_the_page_does_not_reach_the_notebook(place, graph, served_notebook):
    graph.open("Backend")
    before = [(cell["kind"], cell["source"], cell["count"]) for cell in served_notebook.cells()]
    CLICKS[place](graph)
    for key in [*"xrmyabddzcvjk1soi", "Shift+M", "Shift+V", "Shift+L"]:  # shortcuts of JupyterLab
        graph.page.keyboard.press(key)
    assert [(cell["kind"], cell["source"], cell["count"]) for cell in served_notebook.cells()] == before
    expect(graph.page.get_by_role("dialog")).to_have_count(0)
    graph.page.keyboard.press("Escape")  # closes the card of the edge


def test_the_console_button_copies_the_line_that_opens_a_console_of_the_worker(graph, lab):
    graph.open("Backend", "Workers").get_by_role("button", name="Console").first.click()
    expect(graph.status_line).to_have_attribute("data-outcome", "done")
    line = graph.status_line.locator("code")
    expect(line).to_have_text(re.compile(r"^jupyter console --existing \S+$"))
    expect(graph.status_line).to_contain_text("copied: run it in a terminal")
    lab.screenshot("copied")
    search = graph.view.get_by_role("searchbox")
    search.focus()
    lab.page.keyboard.press("Control+v")
    expect(search).to_have_value(line.text_content())
    search.fill("")


def press_until(page, key, goal, limit=30):
    """Presses a key until an element has the focus."""
    goal.wait_for()
    for _ in range(limit):
        if goal.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} did not reach {goal} in {limit} times")


def test_services_states_and_edges_have_names_for_screen_readers(graph):
    expect(graph.node("Backend")).to_have_accessible_name(re.compile("^Backend, ready, 2/2 workers"))
    expect(graph.edge("Middle", "Backend2")).to_have_accessible_name("Middle calls Backend2, not linked")
    nameless = [
        button
        for button in graph.view.locator("button:visible, [role=button]:visible, input:visible, select:visible").all()
        if not button.aria_snapshot().count('"')
    ]
    assert nameless == []
