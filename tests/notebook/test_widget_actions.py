"""The actions of a graph widget, requested over its comm, as a browser does."""

import json
from queue import Empty

import pytest
from cell_runners import Kernel

pytestmark = pytest.mark.slow

SERVICES = """\
import asyncio, os

@service
class Backend:
    @dynamo_endpoint()
    async def generate(self, text: str):
        print("\\x1b[32mgenerating\\x1b[0m", flush=True)
        for word in text.split():
            yield word

    @dynamo_endpoint()
    async def wait(self):
        await asyncio.sleep(600)

    @dynamo_endpoint()
    async def fail(self, why: str):
        raise ValueError(why)

@service
class Other:
    @dynamo_endpoint()
    async def generate(self, text: str):
        yield text

@service
class Middle:
    backend = depends(Backend)
    other = depends(Other)

    @dynamo_endpoint()
    async def pid(self) -> int:
        return os.getpid()

@service
class Frontend:
    middle = depends(Middle)

    @dynamo_endpoint()
    async def ask(self) -> dict[str, int]:
        return {"pid": await self.middle.pid()}
"""


class Browser:
    """The browser's side of one widget."""

    def __init__(self, kernel, comm):
        self.kernel = kernel
        self.comm = comm
        self.state = {}
        self._number = 0

    def request(self, do, **arguments):
        """Requests an action. Returns all answers, up to the last one."""
        number = self.start(do, **arguments)
        return self.answers(number)

    def start(self, do, **arguments):
        self._number += 1
        self._send({"method": "custom", "content": {"id": self._number, "do": do, **arguments}})
        return self._number

    def set(self, **state):
        self._send({"method": "update", "state": state, "buffer_paths": []})

    def _send(self, data):
        client = self.kernel.client
        client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": self.comm, "data": data}))

    def answers(self, number, last=("done", "error")):
        found = []
        while not any(key in answer for answer in found for key in last):
            data = self._next()
            if data["method"] == "custom" and data["content"].get("id") == number:
                found.append(data["content"])
        return found

    def until(self, condition):
        """Reads updates of the widget's state until a condition holds."""
        while not condition(self.state):
            self._next()
        return self.state

    def _next(self):
        while True:
            try:
                message = self.kernel.client.get_iopub_msg(timeout=60)
            except Empty:
                pytest.fail(f"no more messages; the state was {json.dumps(self.state, default=str):.2000}")
            if message["msg_type"] == "comm_msg" and message["content"]["comm_id"] == self.comm:
                data = message["content"]["data"]
                self.state.update(data.get("state", {}))
                return data


@pytest.fixture(scope="module")
def notebook(module_home, tmp_path_factory):
    kernel = Kernel(tmp_path_factory.mktemp("notebook"), module_home).load()
    assert kernel.run(SERVICES, "services").ok
    assert kernel.run("Frontend.link(Middle).link(Backend)", "link").ok
    ran = kernel.run("deployment = await serve(Frontend)", "serve")
    assert ran.ok, ran.error
    yield kernel
    kernel.close()


@pytest.fixture
def browser(notebook):
    (comm,) = notebook.run("%dynamo graph Frontend", "drawing").widgets
    return Browser(notebook, comm)


def test_a_stream_is_called(browser):
    answers = browser.request("call", service="Backend", endpoint="generate", arguments='{"text": "hello big world"}')
    assert answers[0]["code"] == "async for item in deployment.Backend.generate(text='hello big world'): print(item)"
    assert "\n".join(a["item"] for a in answers if "item" in a) == "hello\nbig\nworld"
    assert answers[-1]["done"]
    assert answers[-1]["seconds"] > 0


def test_an_answer_that_is_not_text_is_sent_as_json(browser):
    answers = browser.request("call", service="Frontend", endpoint="ask", arguments="{}")
    assert answers[0]["code"] == "await deployment.Frontend.ask()"
    assert json.loads(answers[-1]["value"])["pid"] > 0


@pytest.mark.parametrize(
    ("endpoint", "arguments", "message"),
    [
        ("fail", '{"why": "no reason"}', "no reason"),
        ("generate", "{}", "text"),
        ("generate", '{"text": ', "JSON"),
        ("generate", "[1]", "not a JSON object"),
        ("generate", '{"text": "x", "test": 1}', "'test'"),
        ("nothing", "{}", "nothing"),
    ],
)
def test_an_invalid_call_is_an_error(browser, endpoint, arguments, message):
    answers = browser.request("call", service="Backend", endpoint=endpoint, arguments=arguments)
    assert message in answers[-1]["error"]


def test_a_call_is_cancelled(browser):
    number = browser.start("call", service="Backend", endpoint="wait", arguments="{}")
    browser.answers(number, last=["code"])
    browser.start("cancel", call=number)
    assert browser.answers(number)[-1]["error"] == "cancelled"


def test_a_service_is_scaled_and_restarted(browser):
    answers = browser.request("scale", service="Other", workers=2)
    assert "error" in answers[-1], "it is not running"
    answers = browser.request("scale", service="Backend", workers=2)
    assert [answers[0]["code"], "done" in answers[-1]] == ["await deployment.scale(Backend=2)", True]
    browser.until(lambda state: state.get("states", {}).get("Backend", {}).get("workers") == "2/2")
    browser.set(selected="Backend")
    before = browser.until(lambda state: state.get("card", {}).get("service") == "Backend")["card"]
    answers = browser.request("restart", service="Backend")
    assert [answers[0]["code"], "done" in answers[-1]] == ['await deployment.restart("Backend")', True]
    old = {worker["id"] for worker in before["workers"]}
    browser.until(
        lambda state: len({w["id"] for w in state["card"]["workers"]} - old) == 2 == len(state["card"]["workers"])
    )


def test_the_card_has_endpoints_links_workers_and_configuration(browser):
    browser.set(selected="Backend")
    card = browser.until(lambda state: state.get("card", {}).get("service") == "Backend")["card"]
    generate = card["endpoints"][0]
    assert (generate["name"], generate["stream"], json.loads(generate["example"])) == (
        "generate",
        True,
        {"text": "hello"},
    )
    assert generate["input"]["properties"]["text"]["type"] == "string"
    assert card["links"] == {"out": [], "in": [["Middle", True]]}
    assert {"index", "id", "state", "pid", "gpus", "started", "restarts", "cpu", "memory", "log"} == set(
        card["workers"][0]
    )
    assert all(len(row) == 3 for row in card["config"])
    assert card["desired"] == len(card["workers"])


def test_the_card_shows_logs_without_the_escape_codes_of_colours(browser):
    browser.request("call", service="Backend", endpoint="generate", arguments='{"text": "hello"}')
    browser.start("watch", page="one", visible=True)
    browser.set(selected="Backend")
    browser.until(
        lambda state: any("generating" in worker["log"] for worker in state.get("card", {}).get("workers", ()))
    )


def test_traffic_and_memory_are_sent_while_the_widget_is_visible(browser):
    browser.start("watch", page="one", visible=True)
    browser.until(lambda state: state.get("loads", {}).get("services"))  # calls after a measurement count in the next
    for _ in range(3):
        browser.request("call", service="Frontend", endpoint="ask", arguments="{}")
    loads = browser.until(
        lambda state: state.get("loads", {}).get("edges", {}).get("Frontend->Middle", {}).get("rate")
    )["loads"]
    assert loads["services"]["Frontend"]["memory"] > 10_000_000
    browser.start("watch", page="one", visible=False)


def test_links_are_made_and_removed_and_the_deployment_follows(browser, notebook):
    before = notebook.run("deployment.status.services['Frontend'].workers[0].pid").shown
    answers = browser.request("link", source="Middle", target="Other")
    assert [answers[0]["code"], answers[-1].get("error")] == ["Middle.link(Other)", None]
    assert browser.until(lambda state: state.get("states", {}).get("Other", {}).get("state") == "ready")
    answers = browser.request("unlink", source="Middle", target="Backend")
    assert [answers[0]["code"], answers[-1].get("error")] == ["Middle.unlink(Backend)", None]
    assert browser.until(lambda state: not state.get("states", {}).get("Backend", {"state": 1})["state"])
    assert browser.request("unlink", source="Middle", target="Other")[-1]["error"].startswith(
        "Other is the only link of Middle"
    )
    assert "does not depend on" in browser.request("link", source="Frontend", target="Other")[-1]["error"]
    assert "done" in browser.request("link", source="Middle", target="Backend")[-1]
    answers = browser.request("unlink", source="Middle", target="Other", force=True)
    assert answers[0]["code"] == "Middle.unlink(Other, force=True)"
    assert "done" in answers[-1]
    assert notebook.run("deployment.status.services['Frontend'].workers[0].pid").shown == before


def test_a_link_that_cannot_be_served_is_removed_again(browser, notebook):
    broken = "@service\nclass Other:\n    def __init__(self):\n        raise RuntimeError('no model')\n"
    assert notebook.run(broken, "other").ok
    answers = browser.request("link", source="Middle", target="Other")
    assert "no model" in answers[-1]["error"]
    assert notebook.run("from dynamo_nb.sdk.links import links_in; links_in(globals()).targets('Middle')").shown == [
        {"text/plain": "['Backend']"}
    ]
    assert "done" in browser.request("call", service="Frontend", endpoint="ask", arguments="{}")[-1]


def test_a_widget_is_closed_when_its_cell_runs_again(browser, notebook):
    (comm,) = notebook.run("%dynamo graph Frontend", "drawing").widgets
    again = Browser(notebook, comm)
    assert again.comm != browser.comm
    assert notebook.run("from ipywidgets import Widget; import ipywidgets.widgets.widget as w").ok
    ran = notebook.run(f"{browser.comm!r} in w._instances, {again.comm!r} in w._instances")
    assert ran.shown == [{"text/plain": "(False, True)"}]


def test_a_live_table_is_updated_until_its_cell_runs_again(notebook):
    (data,) = notebook.run("%dynamo top", "top").shown
    assert "Frontend" in data["text/plain"]
    assert "<table" in data["text/html"]
    while notebook.client.get_iopub_msg(timeout=60)["msg_type"] != "update_display_data":
        pass
    (data,) = notebook.run("%dynamo top --once", "top").shown
    assert "Frontend" in data["text/plain"]
    updating = notebook.run("from dynamo_nb import notebook; len(notebook.current().tables._updating)").shown
    assert updating == [{"text/plain": "0"}]


def test_signs_of_life_come_between_cells_and_while_a_cell_runs(browser, notebook, tmp_path):
    for code in ("pass", f"while not __import__('os').path.exists({str(tmp_path / 'open')!r}): pass"):
        notebook.client.execute(code)
        for _ in range(3):
            while browser._next().get("content") != {"alive": True}:
                pass
    (tmp_path / "open").touch()
    assert notebook.run("1").ok
