"""A page that shows a graph widget without a notebook, to look at it at a width and in a theme."""

import base64
import json
from pathlib import Path

from lab_page import SCREENSHOTS
from playwright.sync_api import Locator, Page

from dynamo_nb.notebook.graph_widget import GraphWidget

_TRAITS = ("svg", "text", "deployment", "states", "loads", "card", "selected", "events")
_DARK = (
    "background:#111;--jp-layout-color0:#111;--jp-layout-color1:#111;--jp-ui-font-color0:#eee;--jp-ui-font-color2:#aaa"
)
# The output of a cell scrolls what does not fit, as JupyterLab's outputs do.
_PAGE = """<!doctype html><meta charset="utf-8"><style>body {{ margin: 0 }} {css}</style>
<body data-jp-theme-light="{light}" style="{style}"><div id="output" style="width: {width}px; overflow: auto"></div>
<script type="module">
import make from "data:text/javascript;base64,{esm}";
const state = {state}, card = {card}, handlers = {{}};
window.model = {{
  get: (key) => state[key],
  set: (key, value) => {{ state[key] = value; handlers["change:" + key]?.forEach((act) => act()); }},
  save_changes: () => {{}}, send: (message) => {{ window.sent = message; }},
  receive: (message) => handlers["msg:custom"].forEach((act) => act(message)),
  on: (event, act) => (handlers[event] ??= new Set()).add(act), off: (event, act) => handlers[event].delete(act),
}};
model.on("change:selected", () => model.set("card", state.selected ? {{ ...card, service: state.selected }} : {{}}));
const widget = make();
widget.initialize({{ model }});
widget.render({{ model, el: document.getElementById("output") }});
window.shown = true;
</script>"""


class WidgetPage:
    """A graph widget on a page of its own.

    Args:
        page: The browser page.
        widget: The widget; its traits are shown as they are.
        width: The width of the output, in pixels.
        dark: True for a dark theme.
        card: The content of every card.
    """

    def __init__(self, page: Page, widget: GraphWidget, width: int, *, dark: bool = False, card: dict | None = None):
        self.page = page
        page.set_viewport_size({"width": max(width, 400), "height": 900})
        page.set_content(
            _PAGE.format(
                css=widget._css,
                light=str(not dark).lower(),
                style=_DARK if dark else "",
                width=width,
                esm=base64.b64encode(widget._esm.encode()).decode(),
                state=json.dumps({name: getattr(widget, name) for name in _TRAITS}).replace("</", "<\\/"),
                card=json.dumps(card or {}).replace("</", "<\\/"),
            )
        )
        page.wait_for_function("window.shown")
        self.settle()

    def settle(self) -> None:
        """Waits until the page has been drawn twice: a change of a size is seen in the frame after it."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")

    @property
    def output(self) -> Locator:
        return self.page.locator("#output")

    def node(self, service: str) -> Locator:
        return self.page.locator(f'[data-service="{service}"]')

    def open(self, service: str, tab: str = "Overview") -> Locator:
        """Opens the card of a service. Returns it."""
        self.node(service).locator(".card").last.dispatch_event("click")
        self.page.get_by_role("tab", name=tab).click()
        self.settle()
        return self.page.get_by_role("complementary")

    def screenshot(self, name: str) -> Path:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.output.screenshot(path=path)
        return path
