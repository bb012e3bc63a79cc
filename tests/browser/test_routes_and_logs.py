"""HTTP routes and logs on the live page, and followed logs in an output of their own."""

import json
import re
import subprocess

import nbformat
import pytest
from playwright.sync_api import expect

PROGRAM = '''\
%load_ext dynamo_nb
import logging
from fastapi import FastAPI, HTTPException
from dynamo_nb import async_on_start, depends, dynamo_api, dynamo_endpoint, serve, service

app = FastAPI()


@app.get("/items/{item}")
async def item(item: int):
    """One item."""
    if item > 100:
        raise HTTPException(404, "no such item")
    return {"item": item}


@service(workers=2)
class Backend:
    @async_on_start
    async def load(self):
        print("\\x1b[32mweights\\x1b[0m loaded")

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        print("said", text)
        return text

    @dynamo_endpoint()
    async def warn(self, text: str) -> None:
        logging.warning(text)

    @dynamo_endpoint()
    async def fail(self, text: str) -> None:
        logging.error(text)


@service(app=app)
class Web:
    backend = depends(Backend)

    @dynamo_api()
    async def generate(self, text: str, repeat_many_many_times_over: int = 1):
        """Says a text."""
        return await self.backend.say(text)
'''
SERVE = "deployment = await serve(Web, http_port=0, kernels=False)\ndeployment"
FOLLOW = "%dynamo logs -f"
SAY = 'await deployment.Backend.say("in another cell")'
MIXED = """\
await deployment.Backend.warn("a warning")
await deployment.Backend.fail("an error")
await deployment.http('GET /items/3')"""
LOAD = """\
running = deployment.bench(deployment.http('GET /items/3'), rate=40, duration=600).start()
failing = deployment.bench(deployment.http('GET /items/300'), rate=5, duration=600).start()"""
END = "running.stop(), failing.stop()"
STOP = "await deployment.stop()"


@pytest.fixture(scope="module")
def notebook_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("notebook") / "routes.ipynb"
    cells = [PROGRAM, SERVE, FOLLOW, SAY, MIXED, LOAD, END, STOP]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells], metadata=metadata)
    nbformat.write(content, path)
    return path


@pytest.fixture
def opened_routes(lab, opened, notebook_file):
    with opened(notebook_file) as notebook:
        notebook.run_to("serve(Web")
        assert notebook.errors() == []
        notebook.show("serve(Web")
        yield notebook


def at_each_width(lab, notebook, part):
    """Makes screenshots of a cell, in columns of these widths beside a closed side bar."""
    lab.page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")
    for theme in ("light", "dark"):
        lab.theme(theme)
        for width in (350, 800, 1600):
            lab.page.set_viewport_size({"width": width + 170, "height": 900})
            notebook.show(part)
            lab.screenshot(f"{theme}-{width}")
    lab.theme("light")
    lab.page.set_viewport_size({"width": 1280, "height": 900})
    lab.page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")


def test_a_card_shows_routes_with_requests_that_work_and_their_load(opened_routes, lab):
    graph = opened_routes.graph("serve(Web")
    graph.is_in_state(Web="ready", Backend="ready")
    opened_routes.run("running =")
    opened_routes.show("serve(Web")
    graph.is_busy("Web")
    card = graph.open("Web", "Routes")
    route = card.get_by_role("region", name="GET /items/{item}")
    expect(route).to_contain_text("One item.")
    expect(route.locator(".dynamo-route-figures")).to_have_text(re.compile(r"^(?!0/s)[\d.]+/s · p50 .+ · p99 .+"))
    expect(route.locator('[data-kind="2xx"] b')).to_have_text(re.compile(r"[1-9]"))
    expect(route.locator('[data-kind="4xx"] b')).to_have_text(re.compile(r"[1-9]"))
    at_each_width(lab, opened_routes, "serve(Web")

    docs = card.get_by_role("link", name="Documentation of the routes").get_attribute("href")
    assert docs.endswith("/docs")
    for line in card.locator(".dynamo-curl code").all_text_contents():
        ran = subprocess.run(["bash", "-c", f"{line} -sS --fail-with-body"], capture_output=True, text=True)
        assert ran.returncode == 0, (line, ran.stdout, ran.stderr)
    assert json.loads(ran.stdout) == "hello"

    lab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    card.get_by_role("button", name="Copy the request of POST /generate").click()
    assert lab.page.evaluate("navigator.clipboard.readText()").startswith("curl -N http://")

    card.get_by_role("tab", name="Overview").click()
    expect(card.get_by_role("link", name="http:")).to_have_attribute("target", "_blank")


def test_a_card_shows_the_log_of_all_workers_with_filters_and_an_access_log(opened_routes, lab):
    graph = opened_routes.graph("serve(Web")
    graph.is_in_state(Web="ready", Backend="ready")
    opened_routes.run("a warning")
    opened_routes.show("serve(Web")
    card = graph.open("Backend", "Log")
    log = card.get_by_role("log", name="Log of Backend")
    lines = log.locator(".dynamo-log-line:visible")
    expect(lines).to_have_count(4)
    expect(lines.first.locator("time")).to_have_text(re.compile(r"\d\d:\d\d:\d\d\.\d{3}"))
    expect(lines.first).to_contain_text("weights loaded")
    assert "\x1b" not in log.text_content()

    card.get_by_role("combobox", name="Level").select_option("error")
    expect(lines).to_have_count(1)
    expect(lines).to_contain_text("an error")
    card.get_by_role("combobox", name="Level").select_option("")
    card.get_by_role("combobox", name="Worker").select_option("Backend[1]")
    expect(lines.filter(has_text="Backend[0]")).to_have_count(0)
    card.get_by_role("combobox", name="Worker").select_option("")
    card.get_by_role("searchbox", name="Filter by text").fill("WARN")
    expect(lines).to_have_count(1)
    lab.screenshot("filtered")
    card.get_by_role("searchbox", name="Filter by text").fill("")
    expect(card.get_by_role("checkbox", name="access log")).to_be_hidden()

    graph.close()
    card = graph.open("Web", "Log")
    expect(card.locator(".dynamo-log-controls")).to_contain_text("no lines: nothing was printed")
    card.get_by_role("checkbox", name="access log").check()
    expect(card.get_by_role("log", name="Log of Web")).to_contain_text("GET /items/3 200")
    lab.screenshot("access")


def test_followed_logs_go_on_while_other_cells_run_until_the_user_stops_them(opened_routes, lab):
    opened_routes.run(FOLLOW)
    output = opened_routes.cell(FOLLOW)
    log = output.get_by_role("log")
    expect(log).to_contain_text("weights loaded")
    opened_routes.run(SAY)
    expect(log).to_contain_text("said in another cell")
    opened_routes.run("a warning")
    expect(log.locator('[data-level="error"]')).to_contain_text("an error")
    output.get_by_role("checkbox", name="access log").check()
    expect(log).to_contain_text("GET /items/3 200")
    at_each_width(lab, opened_routes, FOLLOW)

    output.get_by_role("button", name="Stop").click()
    expect(output.locator(".dynamo-logs")).to_have_count(0)
    expect(output.locator("pre").last).to_contain_text("said in another cell")
    lab.screenshot("stopped")


def test_no_key_reaches_the_notebook_while_the_filter_of_a_log_has_the_focus(opened_routes, lab):
    opened_routes.run(FOLLOW)
    before = len(opened_routes.cells())
    search = opened_routes.cell(FOLLOW).get_by_role("searchbox", name="Filter by text")
    search.click()
    lab.page.keyboard.type("xxbadd")
    expect(search).to_have_value("xxbadd")
    opened_routes.cell(FOLLOW).get_by_role("log").focus()
    for key in "xabdd":
        lab.page.keyboard.press(key)
    assert len(opened_routes.cells()) == before


def test_followed_logs_end_with_the_deployment(opened_routes):
    opened_routes.run(FOLLOW)
    output = opened_routes.cell(FOLLOW)
    expect(output.get_by_role("log")).to_contain_text("weights loaded")
    (saved,) = opened_routes.cells()[opened_routes.number(FOLLOW)]["outputs"]
    assert set(saved["data"]) == {"text/plain", "text/html"}, "a saved notebook must not refer to a widget"

    opened_routes.run(STOP)

    expect(output.locator(".dynamo-logs")).to_have_count(0)
    expect(output.locator("pre").last).to_contain_text("weights loaded")
