"""The second day of a notebook: its kernel is new, and what it had detached is still running."""

import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from cell_runners import Kernel

from dynamo_nb.control.record import records

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LOAD = "%load_ext dynamo_nb\nfrom dynamo_nb import dynamo_api, dynamo_endpoint, serve, service"
BACKEND = """\
@service
class Backend:
    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return text + "!"
"""
SERVE = "rag = await serve(Backend, kernels=False, http_port=0, detach=True)"
OTHER = ["import os", "import sys", "import time", "import json", "Backend.other = 1"]


@dataclass
class Day:
    """One kernel of a notebook: the path that it gets, its cells after the first one, and their ids, if it sends any."""

    path: str = "rag.ipynb"
    cells: list = field(default_factory=lambda: [BACKEND, SERVE])
    ids: bool = True


class Notebooks:
    def __init__(self, folder, home, stack):
        self.folder, self.home, self.stack = folder, home, stack

    def run(self, day):
        """Runs all cells of a day, and returns the kernel with what the cells printed."""
        path = self.folder / day.path if day.path else None
        if path is not None:
            path.touch()
        kernel = Kernel(self.folder, self.home, path)
        self.stack.callback(kernel.close)
        printed = []
        for index, text in enumerate([LOAD, *day.cells]):
            ran = kernel.run(text, f"id-{index}" if day.ids else None)
            assert ran.ok, ran.error
            printed.append(ran.text)
        return kernel, printed

    def restart(self, before, day):
        """Ends a kernel at once, and runs all cells of the next day."""
        os.kill(before.manager.provisioner.pid, 9)
        return self.run(day)


@pytest.fixture
def notebooks(tmp_path, dynamo_home):
    with ExitStack() as stack:
        yield Notebooks(tmp_path, dynamo_home, stack)
        for record in records():
            os.kill(record.supervisor.pid, 15)


def running():
    return {record.id: [process.pid for process in record.processes] for record in records()}


EDITED = BACKEND.replace('"!"', '"?"')
SAME_AGAIN = {
    "nothing has changed": (Day(), Day(), "unchanged"),
    "a cell was edited": (Day(), Day(cells=[EDITED, SERVE]), "updated Backend (code)"),
    "a value was changed": (
        Day(),
        Day(cells=[BACKEND, SERVE.replace("Backend,", "Backend, {'Backend.workers': 2},")]),
        "updated Backend (workers 1 → 2)",
    ),
    "it was detached later": (
        Day(cells=[BACKEND, SERVE.replace(", detach=True", ""), "%dynamo detach"]),
        Day(cells=[BACKEND, SERVE.replace(", detach=True", "")]),
        "unchanged",
    ),
    "it was served by the magic": (
        Day(cells=[BACKEND, "rag = %dynamo serve Backend --port 0 --detach"]),
        Day(cells=[BACKEND, "rag = %dynamo serve Backend --port 0 --detach"]),
        "unchanged",
    ),
    "the notebook was renamed": (Day(), Day(path="new.ipynb"), "unchanged"),
    "the front end sends no ids and no path": (Day("", ids=False), Day("", ids=False), "unchanged"),
    "a cell was edited, without ids": (
        Day("", ids=False), Day("", [EDITED, SERVE], ids=False), "updated Backend (code)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAME_AGAIN)
def test_the_serving_cell_updates_what_is_still_running(notebooks, case):
    first, second, changes = SAME_AGAIN[case]
    before, _ = notebooks.run(first)
    ((deployment, pids),) = running().items()
    if case == "the notebook was renamed":
        (notebooks.folder / first.path).unlink()

    kernel, printed = notebooks.restart(before, second)

    assert list(running()) == [deployment], "no second deployment was started"
    assert f"{deployment} is still running, detached" in printed[0 if first.path == second.path else 2]
    assert f"{deployment} is still running, detached: this cell updates it" in printed[2]
    assert f"{deployment} keeps running, {changes}" in printed[2]
    assert (running()[deployment] == pids) == (changes == "unchanged")
    answer = "a?" if "code" in changes else "a!"
    assert kernel.run("print(await rag.Backend.say('a'))").text == f"{answer}\n"
    edited = kernel.run(BACKEND.replace('"!"', '"~"'), "id-1" if second.ids else None)
    assert "replaced Backend in" in edited.text, "it follows the cells again"


ANOTHER = {
    "another notebook": (Day(), Day("other.ipynb", [BACKEND, SERVE])),
    "a copy of the notebook": (Day(), Day("rag-Copy1.ipynb")),
    "another notebook without ids and path": (Day("", ids=False), Day("", [*OTHER[:4], BACKEND, SERVE + "  # 2"], ids=False)),
    "another graph of the notebook": (
        Day(), Day(cells=[BACKEND.replace("Backend", "Other"), SERVE.replace("Backend", "Other")]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ANOTHER)
def test_a_deployment_of_another_notebook_or_graph_is_left_alone(notebooks, case):
    first, second = ANOTHER[case]
    before, _ = notebooks.run(first)
    ((deployment, pids),) = running().items()

    _, printed = notebooks.restart(before, second)

    assert len(running()) == 2
    assert running()[deployment] == pids
    assert "still running" not in printed[-1]
    assert (deployment in printed[0]) == (first.path == second.path)


HTTP = BACKEND.replace("dynamo_endpoint", "dynamo_api")


def test_a_port_that_the_notebook_itself_holds_is_no_obstacle(notebooks):
    with socket.socket() as drawn:
        drawn.bind(("127.0.0.1", 0))
        port = drawn.getsockname()[1]
    serve = SERVE.replace("http_port=0", f"http_port={port}")
    before, _ = notebooks.run(Day(cells=[HTTP, serve]))
    (deployment,) = running()

    kernel, printed = notebooks.restart(before, Day(cells=[HTTP, serve.replace("kernels", "grace=5, kernels")]))

    (other,) = running()
    assert f"{deployment} is still running, detached" in printed[2]
    assert other != deployment, "its options differ: it was replaced"
    assert kernel.run("print(rag.urls['Backend'])").text == f"http://127.0.0.1:{port}\n"
    # A further notebook that asks for no port gets another one.
    _, printed = notebooks.run(Day("other.ipynb", [HTTP, SERVE.replace(", http_port=0", ""), "print(rag.urls)"]))
    assert f":{port}" not in printed[3]


ATTACHED = {
    "%dynamo attach": "`rag` is {id}\n",
    "mine = %dynamo attach": "",
    "rag = 3\n%dynamo attach": "`rag_2 = %dynamo attach {id}` assigns it to a variable\n",
}


def test_attach_binds_the_name_under_which_it_was_served(notebooks):
    before, _ = notebooks.run(Day())
    _, printed = notebooks.run(Day("other.ipynb"))
    other = printed[2].partition(" is detached")[0]
    (deployment,) = set(running()) - {other}
    for cell, line in ATTACHED.items():
        before, printed = notebooks.restart(before, Day(cells=[cell]))
        assert printed[1] == (
            f"{deployment} is detached; `%dynamo attach {deployment}` connects to it again\n"
            + line.format(id=deployment)
        ), "without a name, it is that of this notebook"
    assert before.run("print(rag)").text == "3\n"
    before, _ = notebooks.restart(before, Day(cells=["%dynamo attach", "print(await rag.Backend.say('a'))"]))
    assert before.run("%dynamo stop").text == f"stopped {deployment}\n"
    assert list(running()) == [other]


def test_a_second_serving_cell_names_the_first_deployment(notebooks):
    again = SERVE.replace("detach=True", "detach=False")
    kernel, printed = notebooks.run(Day(cells=[BACKEND, again, again, again.replace("Backend", "Backend, name='c'")]))
    (first,) = [d for d in running() if f"{d}, served by cell 3," in printed[3]]
    assert printed[3] == (
        f"{first}, served by cell 3, keeps running too: run cell 3 again to update it, `%dynamo stop {first}` stops it\n"
    )
    assert printed[2] == ""
    assert len(printed[4].splitlines()) == 2, "one line for each of the others"
    assert kernel.run(again, "id-2").text == f"{first} keeps running, unchanged\n"
    kernel.run(f"%dynamo stop {first}")
    assert first not in kernel.run(again, "id-9").text
