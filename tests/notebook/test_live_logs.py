"""Followed logs in the output of a cell: they go on while other cells run."""

import time

import pytest

GRAPH = """\
import logging
import sys
from fastapi import FastAPI

app = FastAPI()


@app.get("/hello")
async def hello():
    return "hello"


@service(workers=2, app=app)
class Backend:
    @async_on_start
    async def load(self):
        print("\\x1b[32mweights\\x1b[0m loaded")

    @dynamo_endpoint()
    async def say(self, text: str) -> None:
        print(text)

    @dynamo_endpoint()
    async def fail(self, text: str) -> None:
        logging.error(text)
"""
BOUND = 60.0
CELL = "followed"


@pytest.fixture(scope="module")
def served(shared_kernel):
    shared_kernel.load()
    for text in (GRAPH, "deployment = await serve(Backend, http_port=0, kernels=False)"):
        ran = shared_kernel.run(text, cell_id="graph" if text is GRAPH else "serve")
        assert ran.ok, ran.error
    return shared_kernel


def follow(kernel, line, cell=CELL):
    """Runs a cell that follows logs. Returns the id of the widget's comm."""
    ran = kernel.run(line, cell_id=cell)
    assert ran.ok, ran.error
    (shown,) = ran.shown
    return ran.widgets[0], shown


def say(kernel, text, endpoint="say"):
    ran = kernel.run(f"await deployment.Backend.{endpoint}({text!r})")
    assert ran.ok, ran.error


def send(kernel, comm, **content):
    data = {"method": "custom", "content": content}
    kernel.client.shell_channel.send(kernel.client.session.msg("comm_msg", {"comm_id": comm, "data": data}))


def received(kernel, comm, condition):
    """Waits for rows of a widget, in messages with any parent, until the condition holds of all rows so far."""
    numbered, deadline = {}, time.monotonic() + BOUND
    send(kernel, comm, do="all")
    while 0 not in numbered or not condition(list(numbered.values())):
        assert time.monotonic() < deadline, numbered
        message = kernel.client.get_iopub_msg(timeout=BOUND)
        content = message["content"]
        if message["msg_type"] == "comm_msg" and content["comm_id"] == comm and content["data"]["method"] == "custom":
            found = content["data"]["content"]
            numbered |= dict(enumerate(found["rows"], found["first"]))
            numbered = dict(sorted(numbered.items()))
    return list(numbered.values())


def updated(kernel, condition):
    """Waits for the update of an output. Returns its data."""
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        message = kernel.client.get_iopub_msg(timeout=BOUND)
        if message["msg_type"] == "update_display_data" and condition(message["content"]["data"]):
            return message["content"]["data"]
    raise AssertionError("the output was not updated")


def texts(rows):
    return [row[3] for row in rows]


def test_followed_logs_do_not_block_the_kernel_and_go_on_while_other_cells_run(served):
    comm, shown = follow(served, "%dynamo logs Backend -f")
    say(served, "printed while another cell ran")

    rows = received(served, comm, lambda rows: "printed while another cell ran" in texts(rows))

    assert [row[1:] for row in rows if row[3] == "weights loaded"] == [
        ["Backend[0]", "", "weights loaded"],
        ["Backend[1]", "", "weights loaded"],
    ]
    assert all(time for time, *_ in rows)
    assert "text/plain" in shown


def test_only_an_output_in_vs_code_refers_to_the_widget(served):
    view = "application/vnd.jupyter.widget-view+json"
    comm, shown = follow(served, "%dynamo logs Backend -f", "vscode-notebook-cell:followed")
    assert shown[view]["model_id"] == comm
    send(served, comm, do="stop")
    assert view not in updated(served, bool)
    _, shown = follow(served, "%dynamo logs Backend -f")
    assert view not in shown
    assert "text/html" in shown


def test_stop_ends_the_output_and_leaves_its_lines(served):
    comm, _ = follow(served, "%dynamo logs Backend -f -n 0")
    say(served, "before the end")
    received(served, comm, lambda rows: "before the end" in texts(rows))

    send(served, comm, do="stop")

    data = updated(served, lambda data: "before the end" in data["text/plain"])
    assert "before the end" in data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" not in data


def test_a_cell_that_runs_again_ends_its_earlier_logs(served):
    first, _ = follow(served, "%dynamo logs Backend -f -n 0")
    second, _ = follow(served, "%dynamo logs Backend -f -n 0")
    say(served, "after the second run")

    rows = received(served, second, lambda rows: "after the second run" in texts(rows))

    assert texts(rows) == ["after the second run"]
    assert first != second
    count = """\
import asyncio
from dynamo_nb.sdk.portal import portal
sum("_Output._follow" in repr(task) for task in asyncio.all_tasks(portal.loop))"""
    assert served.run(count).shown[0]["text/plain"] == "1"


def test_lines_are_filtered_by_worker_level_and_text(served):
    comm, _ = follow(served, "%dynamo logs Backend -f -n 0 --level error --grep 'wanted'")
    say(served, "wanted, but without a level")
    say(served, "another error", endpoint="fail")
    say(served, "wanted error", endpoint="fail")

    rows = received(served, comm, bool)

    assert [row[2:] for row in rows] == [["error", "ERROR:root:wanted error"]]


def test_the_access_log_is_shown_when_it_is_asked_for(served):
    comm, _ = follow(served, "%dynamo logs -f -n 0 --grep GET")
    ran = served.run("await deployment.http('GET /hello'); await deployment.http('GET /hello?a=1')")
    assert ran.ok, ran.error

    send(served, comm, do="access", on=True)
    assert served.run("await deployment.http('GET /hello?a=2')").ok

    rows = received(served, comm, lambda rows: any("a=2" in text for text in texts(rows)))
    assert [text.split(" ")[:3] for text in texts(rows)][-1] == ["GET", "/hello?a=2", "200"]
    assert {row[2] for row in rows} == {"info"}


def test_without_a_front_end_for_widgets_the_cell_ends_with_the_lines_so_far(served):
    ran = served.run("%dynamo logs Backend -f -n 1")

    assert ran.ok, ran.error
    assert len(ran.text.splitlines()) == 2
    assert ran.text.startswith("Backend[0]: ")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("%dynamo logs Backend --grep nowhere", "no lines: Backend, lines with nowhere\n"),
        ("%dynamo logs Backend[7]", "no lines: Backend[7]\n"),
    ],
)
def test_it_says_so_when_there_is_nothing(served, line, text):
    assert served.run(line).text == text


def test_a_followed_log_without_lines_says_that_new_ones_appear(served):
    _, shown = follow(served, "%dynamo logs Backend -f --grep nowhere")
    assert shown["text/plain"] == "no lines: Backend, lines with nowhere; new ones appear here"


def test_lines_are_shown_with_their_times_and_without_escape_codes(served):
    ran = served.run("%dynamo logs Backend[1] --times --grep loaded")

    time_, rest = ran.text.split(" ", 1)
    assert len(time_) == len("12:00:00.000")
    assert rest == "Backend[1]: weights loaded\n"


def test_followed_logs_end_with_the_deployment(served):
    comm, _ = follow(served, "%dynamo logs Backend -f -n 5")
    received(served, comm, bool)
    served._ask("await deployment.stop()", "stop")

    data = updated(served, lambda data: "loaded" in data["text/plain"])

    assert "<pre" in data["text/html"]
