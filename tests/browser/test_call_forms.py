"""The form of an endpoint in the live graph: its fields, its defaults, its result and its trace."""

import re

import pytest
from playwright.sync_api import expect

SERVICES = '''from typing import Literal

class Filter(BaseModel):
    field: str
    above: float = 0.5

class Query(BaseModel):
    text: str
    filters: list[Filter] = []
    language: str | None = None

class Found(BaseModel):
    words: list[str]
    query: Query
    top_k: int
    limit: float | None

@service
class Index:
    @dynamo_endpoint()
    async def words(self, text: str) -> AsyncIterator[str]:
        for word in text.split():
            yield word

@service
class Search:
    index = depends(Index)

    @dynamo_endpoint()
    async def search(self, query: Query, top_k: int = 3, mode: Literal["fast", "exact"] = "fast",
                     limit: float | None = 1.5, exact: bool = False, tags: list[str] = ["all"]) -> Found:
        """Finds documents.

        The query is split into words:
            each word counts once.
        """
        words = await self.index.words(query.text)
        return Found(words=words[:top_k], query=query, top_k=top_k, limit=limit)
'''
SERVE = "shown = await serve(Search, http_port=0)\nshown"
SIGNATURE = (
    'search(query: Query, top_k: int = 3, mode: Literal["fast", "exact"] = "fast", limit: float | None = 1.5, '
    'exact: bool = False, tags: list[str] = ["all"]) -> Found'
)


@pytest.fixture(scope="module")
def notebook(shared_lab, opened):
    shared_lab.begin("call forms")
    with opened("hello_world.ipynb", SERVICES, SERVE) as notebook:
        for cell in ("%load_ext dynamo_nb", "class Filter", "shown = await"):
            notebook.run(cell)
        assert notebook.errors() == []
        yield notebook


@pytest.fixture
def card(lab, notebook):
    """The card of Search with the form of its endpoint, as it is at first."""
    notebook.show("shown = await")
    graph = notebook.graph("shown = await")
    graph.is_in_state(Search="ready", Index="ready")
    graph.close()
    card = graph.open("Search", "Endpoints")
    card.graph = graph
    return card


def test_a_form_has_python_types_defaults_and_nested_fields(card, lab):
    expect(card.locator(".dynamo-signature")).to_have_text(SIGNATURE)
    expect(card.locator(".dynamo-endpoint p")).to_have_text(
        "Finds documents.\n\nThe query is split into words:\n    each word counts once.", use_inner_text=True
    )
    expect(card.get_by_role("spinbutton", name="top_k")).to_have_value("3")
    expect(card.get_by_role("combobox", name="mode")).to_have_value('"fast"')
    expect(card.get_by_role("spinbutton", name="limit")).to_have_value("1.5")
    expect(card.get_by_role("checkbox", name="exact", exact=True)).not_to_be_checked()
    expect(card.get_by_role("textbox", name="tags[0]")).to_have_value("all")
    assert "left out" not in card.inner_text()

    card.get_by_role("textbox", name="query.text").fill("one two three four")
    card.get_by_role("button", name="Call", exact=True).click()

    card.graph.did("await shown.Search.search(query={'text': 'one two three four'})")
    expect(card.graph.status_line).to_contain_text("done in")
    expect(card.get_by_role("log", name="Answer")).to_contain_text('"top_k": 3')
    lab.screenshot("defaults")


def test_nested_values_and_changed_defaults_are_sent(card, lab):
    card.get_by_role("textbox", name="query.text").fill("one two")
    card.get_by_role("button", name="Add to query.filters").click()
    card.get_by_role("textbox", name="query.filters[0].field").fill("year")
    card.get_by_role("spinbutton", name="query.filters[0].above").fill("2020")
    card.get_by_role("spinbutton", name="top_k").fill("1")
    card.get_by_role("spinbutton", name="limit").fill("")
    card.get_by_role("button", name="Remove tags[0]").click()
    card.get_by_role("button", name="Call", exact=True).click()

    card.graph.did(
        "await shown.Search.search(query={'text': 'one two', 'filters': [{'field': 'year', 'above': 2020}]}, "
        "top_k=1, limit=None, tags=[])"
    )
    expect(card.get_by_role("log", name="Answer")).to_contain_text('"field": "year"')
    lab.screenshot("nested")


def test_an_invalid_nested_field_shows_its_error_and_has_the_focus(card, lab):
    card.get_by_role("textbox", name="query.text").fill("a")
    card.get_by_role("spinbutton", name="top_k").fill("1.5")
    card.get_by_role("button", name="Call", exact=True).click()
    expect(card.get_by_role("spinbutton", name="top_k")).to_be_focused()
    expect(card.locator(".dynamo-field-error:visible")).to_have_text("not an integer")
    lab.screenshot("invalid")
    card.get_by_role("spinbutton", name="top_k").fill("3")


def test_trace_is_beside_call_and_shows_the_waterfall_with_the_answer(card, lab):
    card.get_by_role("textbox", name="query.text").fill("one two")
    card.get_by_role("button", name="Trace", exact=True).click()
    expect(card.graph.status_line.locator("code")).to_have_text(
        re.compile(r"^await shown\.trace\(shown\.Search\.search")
    )
    expect(card.graph.status_line).to_have_attribute("data-outcome", "done")
    picture = card.get_by_role("img", name="Trace of search")
    picture.evaluate("(image) => image.decode()")
    assert picture.bounding_box()["width"] > 300
    expect(card.get_by_role("log", name="Answer")).to_contain_text('"words"')
    lab.screenshot("trace")


@pytest.mark.parametrize("width", [350, 800, 1280, 1600])
def test_the_result_is_beside_the_form_where_both_have_space(card, lab, width):
    page = lab.page
    before = page.viewport_size
    page.evaluate("jupyterapp.shell.collapseLeft()")
    try:
        page.set_viewport_size({"width": width, "height": 900})
        card.get_by_role("textbox", name="query.text").fill("one two three")
        card.get_by_role("button", name="Call", exact=True).click()
        expect(card.graph.status_line).to_have_attribute("data-outcome", "done")
        form, result = card.locator(".dynamo-form"), card.locator(".dynamo-result")
        for theme in ("light", "dark"):
            lab.theme(theme)
            lab.screenshot(f"{width}-{theme}", of=card.graph.view)
        left, right = form.bounding_box(), result.bounding_box()
        is_beside = right["x"] >= left["x"] + left["width"]
        assert is_beside == (width >= 800)
        if is_beside:
            assert right["width"] >= 1.2 * left["width"]
        panel, whole = card.get_by_role("tabpanel").bounding_box(), card.bounding_box()
        if is_beside:
            assert panel["y"] - 1 <= right["y"] < panel["y"] + 60, "the form is scrolled, and the result stays in sight"
        else:
            result.scroll_into_view_if_needed()
            lab.screenshot(f"{width}-result", of=card.graph.view)
        assert right["x"] + right["width"] <= whole["x"] + whole["width"] + 1
    finally:
        lab.theme("light")
        page.set_viewport_size(before)
