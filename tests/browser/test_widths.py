"""The graph widget in narrow and wide columns, in light and dark, and on a screen with another scale."""

import pytest
from playwright.sync_api import expect
from widget_page import WidgetPage

from dynamo_nb.drawing.picture import Arrow, Node, Picture
from dynamo_nb.notebook.graph_widget import GraphWidget

HELLO = Picture(
    (
        Node("Frontend", "hello", entry=True, state="ready"),
        Node("Middle", "hello", state="ready"),
        Node("Backend", "hello", workers=2, state="ready"),
        Node("Backend2", "hello", running=False),
    ),
    (
        Arrow("Frontend", "Middle", "middle"),
        Arrow("Middle", "Backend", "backend"),
        Arrow("Middle", "Backend2", "backend2", active=False),
    ),
    "Frontend",
)
WIDE_TEXTS = Picture(
    (
        Node("GatewayOfTheWholeSystem", "rag", entry=True, state="ready", resources={"gpu": 2, "cpu": 16}),
        Node("WWWMMMWWWMMM", "rag", workers=4, state="starting", note="loading the weights of the model"),
        Node("W", "rag", state="failed", note="exit code 1"),
    ),
    (Arrow("GatewayOfTheWholeSystem", "WWWMMMWWWMMM", "m"), Arrow("GatewayOfTheWholeSystem", "W", "w")),
    "GatewayOfTheWholeSystem",
)
TALL = Picture(
    (Node("Entry", "many", entry=True, state="ready"), *(Node(f"Leaf{n}", "many", state="ready") for n in range(9))),
    tuple(Arrow("Entry", f"Leaf{n}", "leaf") for n in range(9)),
    "Entry",
)
LOAD = {
    "rate": 12_345.0,
    "p50": 0.951,
    "p99": 59.9,
    "in_flight": 888,
    "errors": 1234.0,
    "failed": 1,
    "memory": 2**30 - 1,
}
CARD = {
    "rows": [["namespace", "hello"], ["defined in", "@service of Backend, cell 4, line 1"]],
    "links": {"out": [], "in": [["Middle", True]]},
    "desired": 2,
    "workers": [],
    "config": [
        ["ServiceArgs.dynamo.enabled", "True", "default"],
        ["ServiceArgs.dynamo.namespace", "hello", "@service, cell 4, line 1"],
        ["ServiceArgs.resources.gpu", "0", "default"],
        ["a_parameter_with_a_long_name", "!", "cell 9:3"],
    ],
}
WIDTHS = pytest.mark.parametrize("width", [350, 800, 1600])


@pytest.fixture
def show(page):
    """Shows a picture at a width, with the widest numbers at its nodes and edges."""

    def show(picture, width, **options):
        workers = {node.name: {"workers": "1/1", "gpus": ""} for node in picture.nodes if node.state}
        widget = GraphWidget(picture, "frontend-1234", workers)
        widget.loads = {
            "services": dict.fromkeys(workers, LOAD),
            "edges": {f"{arrow.source}->{arrow.target}": LOAD for arrow in picture.arrows},
        }
        return WidgetPage(page, widget, width, card=CARD, **options)

    return show


@WIDTHS
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_whole_graph_is_shown_with_names_that_can_be_read(show, width, dark):
    shown = show(HELLO, width, dark=dark)
    shown.screenshot(f"width-{width}-{'dark' if dark else 'light'}")
    outside = shown.output.evaluate("""(output) => {
      const area = output.querySelector(".dynamo-drawing").getBoundingClientRect();
      const isOutside = (box) => box.left < area.left || box.right > area.right || box.top < area.top || box.bottom > area.bottom;
      return [...output.querySelectorAll("[data-service]")].filter((node) => isOutside(node.getBoundingClientRect()))
        .map((node) => node.dataset.service);
    }""")
    assert outside == []
    for service in ("Frontend", "Middle", "Backend"):
        name = shown.node(service).locator(".name:visible").first
        assert name.bounding_box()["height"] >= 10, service


@WIDTHS
@pytest.mark.parametrize("picture", [HELLO, WIDE_TEXTS], ids=["usual texts", "wide texts"])
def test_texts_are_inside_their_nodes_and_do_not_overlap(show, width, picture):
    shown = show(picture, width)
    shown.screenshot(f"texts-{width}-{picture.name}")
    wrong = shown.output.evaluate("""(output) => {
      const wrong = [];
      for (const node of output.querySelectorAll("[data-service]")) {
        const card = [...node.querySelectorAll(".card")].at(-1).getBoundingClientRect();
        const texts = [...node.querySelectorAll("text, .load > tspan")].filter((text) => text.textContent
          && !text.closest(".error-badge") && !text.querySelector("tspan[x]") && text.getClientRects().length);
        const boxes = texts.map((text) => [text.textContent, text.getBoundingClientRect()]);
        for (const [text, box] of boxes) if (box.left < card.left || box.right > card.right) wrong.push(text);
        boxes.forEach(([text, a], at) => boxes.slice(at + 1).forEach(([other, b]) => {
          if (a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom) wrong.push([text, other]);
        }));
      }
      return wrong;
    }""")
    assert wrong == []


@WIDTHS
def test_the_card_of_an_edge_covers_no_service(show, width):
    shown = show(HELLO, width)
    shown.page.locator(".edge .hit-area").nth(1).dispatch_event("click")
    shown.settle()
    shown.screenshot(f"edge-{width}")
    card = shown.page.locator(".dynamo-edge-card").bounding_box()
    expect(shown.page.locator(".dynamo-edge-card").get_by_role("button", name="Unlink")).to_be_visible()
    for node in HELLO.nodes:
        box = shown.node(node.name).bounding_box()
        assert box["y"] + box["height"] <= card["y"], node.name


@WIDTHS
def test_a_card_leaves_a_flat_drawing_as_it_is(show, width):
    shown = show(HELLO, width)
    before = [shown.node(node.name).bounding_box() for node in HELLO.nodes]
    card = shown.open("Backend")
    shown.screenshot(f"card-{width}")
    after = [shown.node(node.name).bounding_box() for node in HELLO.nodes]
    for old, new in zip(before, after, strict=True):
        assert new == pytest.approx(old, abs=5)  # a selected node has a thicker border
    drawing = shown.page.locator(".dynamo-drawing").bounding_box()
    assert card.bounding_box()["y"] - drawing["y"] - drawing["height"] == pytest.approx(8, abs=1)


def test_a_card_beside_a_tall_drawing_is_as_high_as_the_drawing(show):
    shown = show(TALL, 1600)
    card = shown.open("Leaf4").bounding_box()
    shown.screenshot("card-beside")
    drawing = shown.page.locator(".dynamo-drawing").bounding_box()
    assert card["x"] > drawing["x"] + drawing["width"]
    assert (card["y"], card["height"]) == pytest.approx((drawing["y"], drawing["height"]), abs=1)
    svg = shown.page.locator(".dynamo-drawing .node").evaluate_all(
        "(nodes) => nodes.map((node) => node.getBoundingClientRect()).map(({ top, bottom }) => [top, bottom])"
    )
    assert max(bottom for _, bottom in svg) - min(top for top, _ in svg) > 0.8 * drawing["height"]


@WIDTHS
def test_the_configuration_shows_what_was_set_and_breaks_no_word(show, width):
    shown = show(HELLO, width)
    card = shown.open("Backend", "Configuration")
    shown.screenshot(f"configuration-{width}")
    expect(card.get_by_role("rowheader")).to_have_text(["ServiceArgs.dynamo.namespace", "a_parameter_with_a_long_name"])
    card.get_by_text("2 with their defaults").click()
    expect(card.get_by_role("rowheader")).to_have_count(4)
    broken = card.evaluate("""(card) => {
      const parts = [...card.querySelectorAll("tbody th")].flatMap((cell) => [...cell.childNodes]).filter((node) => node.data);
      return parts.filter((part) => {
        const range = document.createRange();
        range.selectNodeContents(part);
        return range.getClientRects().length > 1;
      }).map((part) => part.data);
    }""")
    assert broken == []
    assert card.evaluate(
        "(card) => [...card.querySelectorAll('*')].every((each) => each.scrollWidth <= each.clientWidth + 1"
        " || getComputedStyle(each).overflowX === 'visible' || each.role === 'tablist')"
    )


@pytest.mark.parametrize("zoom", [1, 1.1, 1.5])
@WIDTHS
def test_an_output_has_no_scroll_bar_of_its_own(show, width, zoom):
    shown = show(HELLO, width)
    shown.page.evaluate("(zoom) => { document.body.style.zoom = zoom; }", zoom)
    shown.settle()
    scrollable = """(output) => [output, ...output.querySelectorAll("*")].filter((each) =>
      /auto|scroll/.test(getComputedStyle(each).overflowY) && each.scrollHeight > each.clientHeight && each.clientHeight > 0)
      .map((each) => each.className || each.id)"""
    assert shown.output.evaluate(scrollable) == []
    shown.open("Backend")
    assert shown.output.evaluate(scrollable) == []
    shown.page.keyboard.press("Escape")
    shown.page.locator(".edge .hit-area").nth(1).dispatch_event("click")
    shown.settle()
    assert shown.output.evaluate(scrollable) == []
