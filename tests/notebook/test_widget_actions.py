"""What a drawing on a page does when it is clicked into: asked over its comm, as a browser asks."""

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


class Mouse:
    """The browser's side of one widget."""

    def __init__(self, kernel, data):
        self.kernel = kernel
        self.comm = data["application/vnd.jupyter.widget-view+json"]["model_id"]
        self.state = {}
        self._number = 0

    def ask(self, do, **given):
        """Asks, and gives every answer up to the last one."""
        number = self.begin(do, **given)
        return self.answers(number)

    def begin(self, do, **given):
        self._number += 1
        self._send({"method": "custom", "content": {"id": self._number, "do": do, **given}})
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

    def until(self, holds):
        """Follows the widget's state until it is so."""
        while not holds(self.state):
            self._next()
        return self.state

    def _next(self):
        while True:
            try:
                message = self.kernel.client.get_iopub_msg(timeout=60)
            except Empty:
                pytest.fail(f"nothing more came; the state was {json.dumps(self.state, default=str):.2000}")
            if message["msg_type"] == "comm_msg" and message["content"]["comm_id"] == self.comm:
                data = message["content"]["data"]
                self.state.update(data.get("state", {}))
                return data


@pytest.fixture(scope="module")
def page(module_home, tmp_path_factory):
    kernel = Kernel(tmp_path_factory.mktemp("notebook"), module_home).load()
    assert kernel.run(SERVICES, "services").ok
    assert kernel.run("Frontend.link(Middle).link(Backend)", "link").ok
    ran = kernel.run("deployment = await serve(Frontend)", "serve")
    assert ran.ok, ran.error
    yield kernel
    kernel.close()


@pytest.fixture
def mouse(page):
    (data,) = page.run("%dynamo graph Frontend", "drawing").shown
    return Mouse(page, data)


def test_a_stream_is_tried_from_its_form(mouse):
    answers = mouse.ask("call", service="Backend", endpoint="generate", arguments='{"text": "hello big world"}')
    assert answers[0]["code"] == "async for item in deployment.Backend.generate(text='hello big world'): print(item)"
    assert "\n".join(a["item"] for a in answers if "item" in a) == "hello\nbig\nworld"
    assert answers[-1]["done"]
    assert answers[-1]["seconds"] > 0


def test_an_answer_that_is_no_text_is_shown_as_json(mouse):
    answers = mouse.ask("call", service="Frontend", endpoint="ask", arguments="{}")
    assert answers[0]["code"] == "await deployment.Frontend.ask()"
    assert json.loads(answers[-1]["value"])["pid"] > 0


@pytest.mark.parametrize(
    ("endpoint", "arguments", "said"),
    [
        ("fail", '{"why": "no reason"}', "no reason"),
        ("generate", "{}", "text"),
        ("generate", '{"text": ', "JSON"),
        ("generate", "[1]", "not a JSON object"),
        ("generate", '{"text": "x", "test": 1}', "'test'"),
        ("nothing", "{}", "nothing"),
    ],
)
def test_what_cannot_be_called_says_why(mouse, endpoint, arguments, said):
    answers = mouse.ask("call", service="Backend", endpoint=endpoint, arguments=arguments)
    assert said in answers[-1]["error"]


def test_a_call_is_cancelled(mouse):
    number = mouse.begin("call", service="Backend", endpoint="wait", arguments="{}")
    mouse.answers(number, last=["code"])
    mouse.begin("cancel", call=number)
    assert mouse.answers(number)[-1]["error"] == "cancelled"


def test_a_service_is_scaled_and_restarted(mouse):
    answers = mouse.ask("scale", service="Other", workers=2)
    assert "error" in answers[-1], "it is not running"
    answers = mouse.ask("scale", service="Backend", workers=2)
    assert [answers[0]["code"], "done" in answers[-1]] == ["await deployment.scale(Backend=2)", True]
    mouse.until(lambda state: state.get("states", {}).get("Backend", {}).get("workers") == "2/2")
    mouse.set(selected="Backend")
    before = mouse.until(lambda state: state.get("card", {}).get("service") == "Backend")["card"]
    answers = mouse.ask("restart", service="Backend")
    assert [answers[0]["code"], "done" in answers[-1]] == ['await deployment.restart("Backend")', True]
    old = {worker["id"] for worker in before["workers"]}
    mouse.until(
        lambda state: len({w["id"] for w in state["card"]["workers"]} - old) == 2 == len(state["card"]["workers"])
    )


def test_the_card_has_what_there_is_to_know(mouse):
    mouse.set(selected="Backend")
    card = mouse.until(lambda state: state.get("card", {}).get("service") == "Backend")["card"]
    generate = card["endpoints"][0]
    assert (generate["name"], generate["stream"], json.loads(generate["example"])) == (
        "generate",
        True,
        {"text": "hello"},
    )
    assert generate["input"]["properties"]["text"]["type"] == "string"
    assert card["links"] == {"out": [], "in": [["Middle", True]]}
    assert {"index", "id", "state", "pid", "gpus", "started", "memory", "log"} == set(card["workers"][0])
    assert all(len(row) == 3 for row in card["config"])
    assert card["desired"] == len(card["workers"])


def test_traffic_and_memory_are_told_while_somebody_looks(mouse):
    mouse.begin("watch", page="one", visible=True)
    for _ in range(3):
        mouse.ask("call", service="Frontend", endpoint="ask", arguments="{}")
    loads = mouse.until(lambda state: state.get("loads", {}).get("edges", {}).get("Frontend->Middle", {}).get("rate"))[
        "loads"
    ]
    assert loads["services"]["Frontend"]["memory"] > 10_000_000
    mouse.begin("watch", page="one", visible=False)


def test_links_are_made_and_taken_back_with_what_is_served(mouse, page):
    before = page.run("deployment.status.services['Frontend'].workers[0].pid").shown
    answers = mouse.ask("link", source="Middle", target="Other")
    assert [answers[0]["code"], answers[-1].get("error")] == ["Middle.link(Other)", None]
    assert mouse.until(lambda state: state.get("states", {}).get("Other", {}).get("state") == "ready")
    answers = mouse.ask("unlink", source="Middle", target="Backend")
    assert [answers[0]["code"], answers[-1].get("error")] == ["Middle.unlink(Backend)", None]
    assert mouse.until(lambda state: not state.get("states", {}).get("Backend", {"state": 1})["state"])
    assert mouse.ask("unlink", source="Middle", target="Other")[-1]["error"].startswith(
        "Other is the only link of Middle"
    )
    assert "does not depend on" in mouse.ask("link", source="Frontend", target="Other")[-1]["error"]
    assert "done" in mouse.ask("link", source="Middle", target="Backend")[-1]
    assert "done" in mouse.ask("unlink", source="Middle", target="Other")[-1]
    assert page.run("deployment.status.services['Frontend'].workers[0].pid").shown == before


def test_a_link_that_cannot_be_served_is_taken_back(mouse, page):
    broken = "@service\nclass Other:\n    def __init__(self):\n        raise RuntimeError('no model')\n"
    assert page.run(broken, "other").ok
    answers = mouse.ask("link", source="Middle", target="Other")
    assert "no model" in answers[-1]["error"]
    assert page.run("from dynamo_nb.sdk.links import links_in; links_in(globals()).targets('Middle')").shown == [
        {"text/plain": "['Backend']"}
    ]
    assert "done" in mouse.ask("call", service="Frontend", endpoint="ask", arguments="{}")[-1]


def test_a_drawing_of_a_cell_that_runs_again_ends(mouse, page):
    (data,) = page.run("%dynamo graph Frontend", "drawing").shown
    again = Mouse(page, data)
    assert again.comm != mouse.comm
    assert page.run("from ipywidgets import Widget; import ipywidgets.widgets.widget as w").ok
    ran = page.run(f"{mouse.comm!r} in w._instances, {again.comm!r} in w._instances")
    assert ran.shown == [{"text/plain": "(False, True)"}]


def test_a_table_of_what_is_served_follows_until_its_cell_runs_again(page):
    (data,) = page.run("%dynamo top", "top").shown
    assert "Frontend" in data["text/plain"]
    assert "<table>" in data["text/html"]
    while page.client.get_iopub_msg(timeout=60)["msg_type"] != "update_display_data":
        pass
    (data,) = page.run("%dynamo top --once", "top").shown
    assert "Frontend" in data["text/plain"]
    kept = page.run("from dynamo_nb import notebook; len(notebook.current().tables._updating)").shown
    assert kept == [{"text/plain": "0"}]
