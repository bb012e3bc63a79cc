"""Drives JupyterLab and Notebook 7 in a real browser page: opens a notebook, runs and edits cells, uses the live graph."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
from playwright.sync_api import Error, Locator, Page, expect

BOUND = 60.0  # seconds for one step of a page or a cell; two busy cores start workers in a few seconds
SCREENSHOTS = Path(__file__).parents[2] / "build/screenshots"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}

# Records every change of state of a node: [number of the cell, service, state].
_WATCH = """
window.seenStates = Object.assign([], { from: 0 });
const record = (node) => {
  const cells = [...document.querySelectorAll(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell")];
  const { service, state } = node.dataset, cell = cells.indexOf(node.closest(".jp-Cell"));
  const last = window.seenStates.findLast(([at, name]) => at === cell && name === service);
  if (cell !== -1 && last?.[2] !== state) window.seenStates.push([cell, service, state]);
};
new MutationObserver((changes) => {
  for (const { type, target, addedNodes } of changes) {
    if (type === "attributes" && target.dataset.service) record(target);
    for (const node of addedNodes) node.querySelectorAll?.("g[data-service]").forEach(record);
  }
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-state"] });
"""


class Lab:
    """One page of JupyterLab.

    problems: errors of the page and the browser. hosts: the hosts that the page connected to.
    """

    def __init__(self, page: Page, url: str, root: Path) -> None:
        self._connect(page, root)
        page.goto(url)
        self._wait_for_app()

    def _connect(self, page: Page, root: Path) -> None:
        self.page = page
        self.root = root
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        self._test, self._shots = "", 0
        page.on("pageerror", lambda error: self.problems.append(f"{error}\n{error.stack}"))
        page.on("console", lambda message: self.problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: self.hosts.update(re.findall(r"^\w+://([^/:]+)", request.url)))
        page.add_init_script(_WATCH)

    def _wait_for_app(self) -> None:
        self.page.wait_for_function("window.jupyterapp !== undefined")
        self.page.evaluate("jupyterapp.restored")

    def begin(self, test: str) -> None:
        """Sets the name of the screenshots from now on. Removes older ones with this name."""
        self._test, self._shots = re.sub(r"\W+|_", "-", test.removeprefix("test_")).strip("-"), 0
        self.problems.clear()
        for old in SCREENSHOTS.glob(f"{self._test}-[0-9][0-9]-*.png"):
            old.unlink()

    def screenshot(self, step: str, of: Locator | None = None) -> Path:
        self._shots += 1
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{self._test}-{self._shots:02}-{step}.png"
        (of or self.page).screenshot(path=path)
        return path

    def open(self, notebook: Path, *cells: str) -> "Notebook":
        """Opens a copy of a notebook, with more cells at its end, as a double click does."""
        name = f"{self._test}.ipynb"
        shutil.copy(notebook, self.root / name)
        if cells:
            content = nbformat.read(self.root / name, 4)
            content.cells += [nbformat.v4.new_code_cell(text) for text in cells]
            nbformat.write(content, self.root / name)
        return self.reopen(name)

    def reopen(self, name: str) -> "Notebook":
        """Opens a notebook in the folder of the server, as a double click does."""
        self.page.evaluate(
            """async (path) => {
              const panel = await jupyterapp.commands.execute("docmanager:open", { path });
              await panel.context.ready;
              await panel.sessionContext.ready;
            }""",
            name,
        )
        return Notebook(self)

    def reload(self) -> None:
        """Loads the page again, as the browser's button does."""
        self.page.reload()
        self._wait_for_app()

    def theme(self, name: str) -> None:
        """Changes to the "light" or "dark" theme, as Settings > Theme does."""
        self.page.evaluate("(theme) => jupyterapp.commands.execute('apputils:change-theme', { theme })", THEMES[name])
        self.page.wait_for_selector(f'[data-jp-theme-name="{THEMES[name]}"]', state="attached")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")


class Notebook7(Lab):
    """One page of Notebook 7, which shows one notebook.

    url_of: returns the URL of a notebook, by its name.
    """

    def __init__(self, page: Page, url_of: Callable[[str], str], root: Path) -> None:
        self._connect(page, root)
        self._url_of = url_of

    def reopen(self, name: str) -> "Notebook":
        self.page.goto(self._url_of(name))
        self._wait_for_app()
        self.page.wait_for_function("jupyterapp.shell.currentWidget?.sessionContext !== undefined")
        self.page.evaluate("""async () => {
          const panel = jupyterapp.shell.currentWidget;
          await panel.context.ready;
          await panel.sessionContext.ready;
        }""")
        self.problems.clear()  # it reports errors when it loads, without any notebook too
        return Notebook(self)


class Notebook:
    """The open notebook. A cell is named by a part of its text: the first code cell with this part."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.page = lab.page
        self.panel = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def save(self) -> Path:
        """Saves the notebook. Returns its path."""
        return self.lab.root / self.page.evaluate("""async () => {
          const { context } = jupyterapp.shell.currentWidget;
          await context.save();
          return context.path;
        }""")

    def close(self) -> None:
        """Closes the notebook without saving, and shuts down its kernel."""
        self.page.evaluate("""async () => {
          const panel = jupyterapp.shell.currentWidget;
          await panel.sessionContext.shutdown();
          panel.dispose();
        }""")

    # --- cells -----------------------------------------------------------------------------------------------------

    def cells(self) -> list[dict]:
        """Returns each cell with its source, its outputs, its execution count and its execution state."""
        return self.page.evaluate("""() => jupyterapp.shell.currentWidget.content.widgets.map(({ model }) => ({
          kind: model.type, source: model.sharedModel.getSource(), outputs: model.outputs?.toJSON() ?? [],
          count: model.executionCount, state: model.executionState }))""")

    def number(self, part: str) -> int:
        found = [n for n, cell in enumerate(self.cells()) if cell["kind"] == "code" and part in cell["source"]]
        assert found, f"no cell contains {part!r}"
        return found[0]

    def cell(self, part: str) -> Locator:
        return self.panel.locator(".jp-Cell").nth(self.number(part))

    def show(self, part: str) -> None:
        """Scrolls the cell to the top."""
        self.cell(part).evaluate("""async (cell) => {
          cell.scrollIntoView({ block: "start", behavior: "instant" });
          for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);  // until it is drawn
        }""")

    def run_all(self) -> None:
        """Runs all cells, and waits for the last one or the first error."""
        self._forget_counts()
        self._menu("Run", "Run All Cells")
        self._until("cells.every(idle) && (cells.some(failed) || cells.every(ran))")

    def run_to(self, part: str) -> None:
        """Runs all cells up to this one, and this one."""
        self._forget_counts()
        self._select(part)
        self._menu("Run", "Run All Above Selected Cell")
        above = f"cells.slice(0, {self.number(part)})"
        self._until(f"{above}.every(idle) && ({above}.some(failed) || {above}.every(ran))")
        self.run(part)

    def run(self, part: str) -> None:
        """Runs one cell, and waits for its end."""
        self.start(part)()

    def start(self, part: str) -> Callable[[], None]:
        """Starts one cell. Returns the function that waits for its end."""
        number = self.number(part)
        self._forget_counts(number)
        self._select(part)
        self.page.keyboard.press("Control+Enter")
        return lambda: self._until(f"ran(cells[{number}]) && idle(cells[{number}])")

    def edit(self, part: str, text: str) -> None:
        """Replaces the text of a cell, as a user types. The cell stays selected."""
        number = self.number(part)
        self.panel.locator(".jp-Cell").nth(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)
        self._until(f"cells[{number}].model.sharedModel.getSource() === {json.dumps(text)}")
        self.page.keyboard.press("Escape")

    def replace(self, part: str, old: str, new: str) -> None:
        """Replaces a part of the text of a cell, and runs the cell."""
        source = self.cells()[self.number(part)]["source"]
        assert old in source
        text = source.replace(old, new)
        self.edit(part, text)
        self.run(text)

    def restart(self) -> None:
        """Restarts the kernel with the button of the toolbar, and confirms the dialog."""
        self.panel.get_by_role("button", name="Restart the kernel", exact=True).click()
        self.page.get_by_role("dialog").get_by_role("button", name="Confirm Kernel Restart").click()
        self.page.wait_for_selector(".jp-Dialog", state="detached")
        self._until("jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'")

    # --- outputs ---------------------------------------------------------------------------------------------------

    def text(self, part: str) -> str:
        """Returns what a cell printed and returned, as text."""
        outputs = self.cells()[self.number(part)]["outputs"]
        return "".join(_joined(o.get("text") or o.get("data", {}).get("text/plain", "")) for o in outputs)

    def errors(self) -> list[str]:
        return [
            f"{cell['source']}\n{output['ename']}: {output['evalue']}"
            for cell in self.cells()
            for output in cell["outputs"]
            if output["output_type"] == "error"
        ]

    def graph(self, part: str) -> "Graph":
        """Returns the live graph in the output of a cell."""
        return Graph(self.cell(part).locator(".dynamo-view"))

    def seen_states(self, part: str, service: str) -> list[str]:
        """Returns the states that the graph below a cell has shown for a service, since `forget_states`."""
        number = self.number(part)
        return [
            state
            for cell, name, state in self.page.evaluate("seenStates.slice(seenStates.from)")
            if (cell, name) == (number, service)
        ]

    def forget_states(self) -> None:
        self.page.evaluate("seenStates.from = seenStates.length")

    # --- waiting ---------------------------------------------------------------------------------------------------

    def _menu(self, menu: str, item: str) -> None:
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        self.page.get_by_role("menuitem", name=item, exact=True).click()

    def _select(self, part: str) -> None:
        self.cell(part).locator(".jp-InputArea-prompt").click()

    def _forget_counts(self, number: int | None = None) -> None:
        """Removes the saved execution counts of all cells, or of one: a count then means that the cell has run."""
        self.page.evaluate(
            """(number) => jupyterapp.shell.currentWidget.content.widgets.forEach(({ model }, at) => {
              if (model.type === "code" && (number === null || number === at)) model.executionCount = null;
            })""",
            number,
        )

    def _until(self, condition: str) -> None:
        script = f"""() => {{
          const cells = jupyterapp.shell.currentWidget.content.widgets;
          const idle = (cell) => cell.model.type !== "code" || cell.model.executionState === "idle";
          const ran = (cell) => cell.model.type !== "code" || cell.model.executionCount !== null;
          const failed = (cell) => cell.model.outputs?.toJSON().some((output) => output.output_type === "error");
          return {condition};
        }}"""
        try:
            self.page.wait_for_function(script, timeout=BOUND * 1000)
        except Error as error:
            states = [
                (cell["state"], cell["count"], cell["source"][:40]) for cell in self.cells() if cell["kind"] == "code"
            ]
            raise AssertionError(f"never: {condition}\n{states}\n{self.errors()}") from error


class Graph:
    """A live graph on the page."""

    def __init__(self, view: Locator) -> None:
        self.view = view
        self.page = view.page
        self.drawing = view.locator(".dynamo-drawing")

    def node(self, service: str) -> Locator:
        return self.drawing.get_by_role("button", name=re.compile(rf"^{service}(,|$)"))

    def edge(self, source: str, target: str) -> Locator:
        return self.drawing.get_by_role("button", name=re.compile(f"^{source} calls {target}(,|$)"))

    def is_in_state(self, **states: str) -> None:
        """Waits until each service shows its state, as a colour (which depends on data-state) and as text."""
        for service, state in states.items():
            expect(self.node(service)).to_have_attribute("data-state", state)
            expect(self.node(service)).to_have_accessible_name(re.compile(rf"^{service}, {state}\b"))

    def is_busy(self, service: str) -> None:
        """Waits until the graph shows calls of a service."""
        expect(self.node(service).locator(".load")).to_have_text(re.compile(r"^(?!0/s)[\d.,]+"))

    def is_linked(self, source: str, target: str, linked: bool = True) -> None:
        """Waits until an edge is drawn as active, or as inactive."""
        expect(self.edge(source, target)).to_have_attribute("data-active", str(linked).lower())

    def card(self, service: str) -> Locator:
        return self.view.get_by_role("complementary", name=service)

    def open(self, service: str, tab: str | None = None) -> Locator:
        """Clicks on a node, and on a tab of its card. Returns the card."""
        self.node(service).click()
        if tab is not None:
            self.card(service).get_by_role("tab", name=tab).click()
        return self.card(service)

    def close(self) -> None:
        """Closes the card, if one is open."""
        card = self.view.get_by_role("complementary")
        if card.is_visible():
            card.get_by_role("button", name="Close").click()
            expect(card).to_be_hidden()

    def click_edge(self, source: str, target: str) -> None:
        """Clicks on the middle of an edge."""
        x, y = (
            self.edge(source, target)
            .locator(".line")
            .evaluate("""(line) => {
          const at = line.getPointAtLength(line.getTotalLength() / 2).matrixTransform(line.getScreenCTM());
          return [at.x, at.y];
        }""")
        )
        self.page.mouse.click(x, y)

    def act_on_edge(self, source: str, target: str, action: str) -> None:
        """Clicks on an edge, and then on a button of its card."""
        self.click_edge(source, target)
        card = self.view.get_by_role("group", name=f"{source} to {target}")
        card.get_by_role("button", name=action, exact=True).click()

    def close_edge(self, source: str, target: str) -> None:
        self.view.get_by_role("group", name=f"{source} to {target}").get_by_role("button", name="Close").click()

    def drag_link(self, source: str, target: str) -> None:
        """Drags from the handle of a node to another node."""
        self.node(source).hover()
        handle = self.node(source).locator(".link-handle").bounding_box()
        goal = self.node(target).bounding_box()
        self.page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
        self.page.mouse.down()
        self.page.mouse.move(goal["x"] + goal["width"] / 2, goal["y"] + goal["height"] / 2, steps=8)
        self.page.mouse.up()

    @property
    def status_line(self) -> Locator:
        """The code of the latest action, and its result."""
        return self.view.locator(".dynamo-status-line")

    def did(self, code: str) -> None:
        """Waits until the latest action has this code, and is done."""
        expect(self.status_line.locator("code")).to_have_text(code)
        expect(self.status_line).to_have_attribute("data-outcome", "done")


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
