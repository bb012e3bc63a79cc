"""Changes in the live graph of hello_world: workers and links."""

import json
import re

import pytest
from playwright.sync_api import TimeoutError as Timeout
from playwright.sync_api import expect

RENDER_TIME = 4.0  # seconds; more than an output takes to follow a change

ASK = """import json

print(json.dumps((await deployment.Frontend.ask({"text": "a b"})).words))"""


def answer(notebook):
    notebook.run(ASK)
    return json.loads(notebook.text(ASK))


def test_a_service_is_stopped_scaled_and_restarted_from_its_card(served, lab):
    _, graph = served()
    card = graph.open("Backend")
    card.get_by_role("button", name="Stop", exact=True).click()
    confirmation = card.get_by_role("group", name="Stop Backend?")
    lab.screenshot("confirmation")
    confirmation.get_by_role("button", name="Cancel").click()
    expect(confirmation).to_be_hidden()
    graph.is_in_state(Backend="ready")
    card.get_by_role("button", name="Stop", exact=True).click()
    confirmation.get_by_role("button", name="Stop").click()
    graph.did("await deployment.scale(Backend=0)")
    lab.screenshot("stopped")
    card.get_by_role("button", name="Add one worker").click()
    graph.did("await deployment.scale(Backend=1)")
    expect(graph.node("Backend")).to_have_accessible_name(re.compile("ready, 1/1 workers"))
    card.get_by_role("button", name="Restart").click()
    graph.did('await deployment.restart("Backend")')
    graph.is_in_state(Backend="ready")
    lab.screenshot("restarted")


def test_a_field_keeps_the_focus_while_states_change(served, lab):
    _, graph = served()
    card = graph.open("Backend", "Endpoints")
    field = card.get_by_role("textbox", name="text")
    first = graph.view.element_handle()
    card.get_by_role("button", name="Add one worker").click()
    field.click()
    graph.did("await deployment.scale(Backend=3)")
    with pytest.raises(Timeout):
        lab.page.wait_for_function("(view) => !view.isConnected", arg=first, timeout=RENDER_TIME * 1000)
    expect(field).to_be_focused(timeout=1000)


LOAD = """load = deployment.bench(deployment.Frontend.ask({"text": "a b"}), concurrency=2, duration=120).start()"""


def test_the_page_asks_before_a_link_with_calls_is_removed(served, lab):
    notebook, graph = served(LOAD)
    graph.act_on_edge("Middle", "Backend2", "Link")
    graph.did("Middle.link(Backend2)")
    graph.is_in_state(Backend2="ready")
    graph.close_edge("Middle", "Backend2")
    notebook.run(LOAD)
    notebook.show("await serve(")
    graph.is_busy("Backend")
    graph.act_on_edge("Middle", "Backend", "Unlink")
    card = graph.view.get_by_role("group", name="Middle to Backend", exact=True)
    question = card.get_by_role("group", name=re.compile(r"^Middle calls Backend [\d.,]+\/s\. Unlink\?$"))
    lab.screenshot("question")
    question.get_by_role("button", name="Cancel").click()
    graph.is_linked("Middle", "Backend")
    card.get_by_role("button", name="Unlink", exact=True).click()
    question.get_by_role("button", name="Unlink").click()
    graph.did("Middle.unlink(Backend, force=True)")
    graph.is_linked("Middle", "Backend", linked=False)
    lab.screenshot("unlinked")


def test_an_edge_is_linked_and_unlinked_by_click_and_linked_again_by_drag(served, lab):
    notebook, graph = served(ASK)
    graph.act_on_edge("Middle", "Backend", "Unlink")
    expect(graph.status_line).to_have_attribute("data-outcome", "failed")
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
