"""What a person does in the live graph of hello_world: open cards, try endpoints, scale, link, with mouse and keyboard."""

import json
import re

from playwright.sync_api import expect

ASKED = """import json

print(json.dumps((await deployment.Frontend.ask({"text": "a b"})).words))"""


def answer(notebook):
    notebook.run(ASKED)
    return json.loads(notebook.text(ASKED))


def test_a_card_tells_workers_and_configuration_and_nothing_in_it_overlaps(served, lab):
    _, graph = served()
    graph.is_in_state(Frontend="ready", Middle="ready", Backend="ready")
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
    """Pairs of words in a card that lie over each other."""
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


def test_an_endpoint_that_streams_is_tried_from_its_form(served, lab):
    _, graph = served()
    card = graph.open("Backend", "Endpoints")
    card.get_by_role("textbox", name="text").fill("hello big world")
    card.get_by_role("button", name="Call").click()
    expect(card.get_by_role("log", name="Answer").locator(".dynamo-item")).to_have_text(
        re.compile("hello!\\s*big!\\s*world!")
    )
    graph.did("async for item in deployment.Backend.generate(text='hello big world'): print(item)")
    lab.screenshot("streamed")


def test_an_endpoint_that_returns_is_tried_with_a_model(served, lab):
    _, graph = served()
    card = graph.open("Frontend", "Endpoints")
    card.get_by_role("button", name="ask", exact=True).click()
    field = card.get_by_role("textbox", name="request")
    lab.screenshot("form")
    field.fill('{"text": "hello", "shout": true}')
    field.press("Control+Enter")
    expect(card.get_by_role("log", name="Answer")).to_contain_text('"HELLO!"')
    lab.screenshot("answered")
    field.fill('{"text": 3}')
    field.press("Control+Enter")
    expect(graph.line).to_have_attribute("data-outcome", "failed")
    expect(card.get_by_role("log", name="Answer")).to_contain_text("text")
    lab.screenshot("refused")


def test_a_service_is_scaled_and_restarted_from_its_card(served, lab):
    _, graph = served()
    card = graph.open("Backend")
    card.get_by_role("button", name="One worker more").click()
    graph.did("await deployment.scale(Backend=3)")
    expect(graph.node("Backend")).to_have_accessible_name(re.compile("3/3 workers"))
    lab.screenshot("scaled")
    card.get_by_role("button", name="Restart").click()
    graph.did('await deployment.restart("Backend")')
    graph.is_in_state(Backend="ready")
    card.get_by_role("button", name="Stop", exact=True).click()
    lab.screenshot("asked")
    card.get_by_role("group", name="Stop Backend?").get_by_role("button", name="Stop").click()
    graph.did("await deployment.scale(Backend=0)")
    lab.screenshot("stopped")


def test_an_edge_is_linked_by_click_unlinked_and_linked_again_by_drag(served, lab):
    notebook, graph = served(ASKED)
    graph.act_on_edge("Middle", "Backend", "Unlink")
    expect(graph.line).to_have_attribute("data-outcome", "failed")
    expect(graph.view).to_contain_text("link another one first")
    lab.screenshot("refused")
    graph.close_edge("Middle", "Backend")
    graph.act_on_edge("Middle", "Backend2", "Link")
    graph.did("Middle.link(Backend2)")
    graph.is_linked("Middle", "Backend2")
    graph.is_in_state(Backend2="ready", Backend="ready")
    lab.screenshot("linked")
    graph.close_edge("Middle", "Backend2")
    graph.act_on_edge("Middle", "Backend", "Unlink")
    graph.did("Middle.unlink(Backend)")
    graph.is_linked("Middle", "Backend", linked=False)
    lab.screenshot("unlinked")
    assert answer(notebook) == ["b", "a"]
    notebook.show("await serve(")
    graph.close_edge("Middle", "Backend")
    graph.drag_link("Middle", "Backend")
    graph.did("Middle.link(Backend)")
    graph.is_linked("Middle", "Backend")
    graph.is_in_state(Backend="ready", Backend2="ready")
    lab.screenshot("linked-again")
    assert answer(notebook) == ["a!", "b!"]


def test_the_keyboard_alone_leads_through_the_graph_and_tries_an_endpoint(served, lab):
    _, graph = served()
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
    expect(card.get_by_role("tab", name="Overview")).to_be_visible()
    tab_until(lab.page, card.get_by_role("tab", name="Overview"))
    keyboard.press("ArrowRight")
    expect(card.get_by_role("tab", name="Endpoints")).to_have_attribute("aria-selected", "true")
    tab_until(lab.page, card.get_by_role("textbox", name="text"))
    keyboard.press("Control+Enter")
    expect(graph.line).to_have_attribute("data-outcome", "done")
    lab.screenshot("called")
    keyboard.press("Escape")
    expect(card).to_be_hidden()
    expect(graph.node("Backend")).to_be_focused()
    keyboard.press("?")
    expect(graph.view.get_by_role("group", name="Keys")).to_be_visible()
    lab.screenshot("keys")


def tab_until(page, wanted, most=30):
    """Presses Tab until something has the focus."""
    wanted.wait_for()
    for _ in range(most):
        if wanted.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{most} times Tab do not lead to {wanted}")


def test_what_a_screen_reader_is_told_names_services_states_and_edges(served):
    _, graph = served()
    graph.is_in_state(Frontend="ready", Middle="ready", Backend="ready")
    expect(graph.node("Backend")).to_have_accessible_name(re.compile("^Backend, ready, 2/2 workers"))
    expect(graph.edge("Middle", "Backend2")).to_have_accessible_name("Middle calls Backend2, not linked")
    nameless = [
        button
        for button in graph.view.locator("button:visible, [role=button]:visible, input:visible, select:visible").all()
        if not button.aria_snapshot().count('"')
    ]
    assert nameless == []
