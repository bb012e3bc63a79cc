"""A Jupyter server and a browser, shared by the tests of one file. Each test has its own notebook."""

import os
import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from lab_page import BOUND, Lab, Notebook7
from lab_server import LabServer
from playwright.sync_api import expect, sync_playwright

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = [os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
BROWSER = next(filter(None, map(shutil.which, filter(None, NAMES))), None)
NO_BROWSER = "no browser found: install chromium (apt-get install chromium), or set CHROMIUM to the path of one"
VIEWPORT = {"width": 1280, "height": 900}
TEST_BOUND = 240.0  # seconds to run a notebook and serve a graph on two busy cores
END_BOUND = 20.0  # seconds in which the deployment of a closed notebook ends


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(TEST_BOUND))
            if BROWSER is None and not os.environ.get("CI"):
                item.add_marker(pytest.mark.skip(NO_BROWSER))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    used = getattr(item, "funcargs", {})
    lab = used.get("lab") or used.get("front_end")
    if report.when == "call" and report.failed and lab is not None:
        report.sections.append(("screenshot", str(lab.screenshot("FAILED"))))
    return report


@pytest.fixture(scope="module")
def chromium():
    """Path of the browser. In CI, a missing browser is an error."""
    if BROWSER is None:
        pytest.fail(NO_BROWSER)
    return BROWSER


@pytest.fixture(scope="module")
def home(chromium, new_home):
    with new_home() as home:
        yield home


@pytest.fixture(scope="module")
def context(chromium, home):
    # Chromium has no sandbox for root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        context = browser.new_context(viewport=VIEWPORT, reduced_motion="reduce")
        context.set_default_timeout(BOUND * 1000)
        expect.set_options(timeout=BOUND * 1000)
        yield context
        context.close()
        browser.close()


@pytest.fixture(scope="module")
def page(context):
    """A page of its own."""
    return context.new_page()


@pytest.fixture(scope="module")
def server(context, tmp_path_factory):
    server = LabServer(tmp_path_factory.mktemp("lab"))
    yield server
    for page in context.pages:
        page.goto("about:blank")
    server.stop()


@pytest.fixture(scope="module")
def shared_lab(server, context):
    return Lab(context.new_page(), server.url, server.root)


@pytest.fixture(scope="module")
def shared_notebook7(server, context):
    return Notebook7(context.new_page(), server.notebook_url, server.root)


@pytest.fixture
def lab(shared_lab, request):
    """JupyterLab without an open notebook. The page must not report errors, nor connect to other hosts."""
    shared_lab.begin(request.node.name)
    yield shared_lab
    assert shared_lab.problems == []
    assert shared_lab.hosts == {"127.0.0.1"}


@pytest.fixture(params=["shared_lab", "shared_notebook7"], ids=["JupyterLab", "Notebook 7"])
def front_end(request):
    """JupyterLab, then Notebook 7, without an open notebook."""
    app = request.getfixturevalue(request.param)
    app.begin(request.node.name)
    yield app
    assert app.problems == []
    assert app.hosts == {"127.0.0.1"}


@pytest.fixture(scope="module")
def opened(request, home):
    """Opens a copy of a file of notebooks/, with more cells, in JupyterLab or `app`. Its processes must end with it."""

    @contextmanager
    def opened(name, *cells, app=None):
        before = set(_processes(home))
        notebook = (app or request.getfixturevalue("shared_lab")).open(NOTEBOOKS / name, *cells)
        try:
            yield notebook
        finally:
            notebook.close()
        _, left = psutil.wait_procs(set(_processes(home)) - before, timeout=END_BOUND)
        assert left == [], f"the notebook left processes behind: {left}"

    return opened


@pytest.fixture
def open_hello(lab, opened):
    """Opens hello_world with more cells, for one test."""
    with ExitStack() as stack:
        yield lambda *cells: stack.enter_context(opened("hello_world.ipynb", *cells))


def _processes(home):
    """Kernels, supervisors and workers, without the processes of the browser, which start and end at any time."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("DYNAMO_HOME") == str(home) and "chrom" not in process.name():
                yield process
        except psutil.Error:
            continue


@pytest.fixture
def served(open_hello):
    """Opens hello_world with more cells, and runs it until its graph is served. Returns it with the live graph."""

    def served(*cells):
        notebook = open_hello(*cells)
        notebook.run_to("await serve(")
        assert notebook.errors() == []
        notebook.show("await serve(")
        return notebook, notebook.graph("await serve(")

    return served


class Gate:
    """Makes the constructor of a service wait. code: replaces "self.suffix = suffix" in hello_world."""

    def __init__(self, path):
        self._path = path
        self.code = f"""self.suffix = suffix
        import time

        while not os.path.exists({str(path)!r}):
            time.sleep(0.02)"""

    def open(self):
        self._path.touch()

    def close(self):
        self._path.unlink(missing_ok=True)


@pytest.fixture
def gate(tmp_path):
    gate = Gate(tmp_path / "open")
    gate.open()
    yield gate
    gate.open()
