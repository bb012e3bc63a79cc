"""Cells that run in a worker: `%%dynamo_exec`."""

import os
import signal

import pytest

pytestmark = pytest.mark.slow

BACKEND = """\
@service(workers=2)
class Backend:
    def __init__(self):
        self.seen = []

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        self.seen.append(text)
        return text + "!"
"""
LOAD = """\
import asyncio
async def load():
    while not done.is_set():
        assert await deployment.Backend.generate("load") == "load!"
        answered.append(1)
done, answered = asyncio.Event(), []
loading = [asyncio.ensure_future(load()) for _ in range(16)]
"""
RICH = """\
import asyncio
from IPython.display import HTML, display
await asyncio.sleep(0)
display(HTML("<b>x</b>"))
"""


@pytest.fixture(scope="module")
def served(shared_kernel):
    kernel = shared_kernel.load()
    for cell in (BACKEND, "deployment = await serve(Backend, http_port=0)"):
        ran = kernel.run(cell)
        assert ran.ok, ran.error
    yield kernel
    kernel.run("await deployment.stop()")


def pids(kernel):
    ran = kernel.run("print([w.pid for w in deployment.status.services['Backend'].workers])")
    return [int(pid) for pid in ran.text.strip()[1:-1].split(",")]


def test_self_is_the_service_object_of_the_worker(served):
    assert served.run("for _ in range(2): await deployment.Backend.generate('seen here')").ok
    ran = served.run("%%dynamo_exec Backend[0]\nprint(self.seen)\nimport os\nos.getpid()")
    assert ran.ok, ran.error
    assert ran.text == "['seen here']\n"
    assert ran.shown == [{"text/plain": str(pids(served)[0])}]


def test_a_star_runs_the_cell_in_all_workers(served):
    ran = served.run("%%dynamo_exec Backend[*]\nimport os\nprint('pid', os.getpid())")
    first, second = pids(served)
    assert ran.text == f"Backend[0]:\npid {first}\nBackend[1]:\npid {second}\n"


def test_rich_output_and_await_work_as_in_any_cell(served):
    ran = served.run(f"%%dynamo_exec Backend\n{RICH}")
    assert ran.ok, ran.error
    assert [data["text/html"] for data in ran.shown] == ["<b>x</b>"]


def test_a_cell_runs_while_the_service_is_under_load(served):
    assert served.run(LOAD).ok
    ran = served.run("%%dynamo_exec Backend[*]\nprint(len(self.seen) > 0)")
    assert ran.text == "Backend[0]:\nTrue\nBackend[1]:\nTrue\n"
    ended = served.run("done.set()\nawait asyncio.gather(*loading)\nprint(len(answered) > 16)")
    assert (ended.ok, ended.text) == (True, "True\n"), ended.error


def test_an_error_is_shown_here_and_the_worker_continues(served):
    before = pids(served)
    ran = served.run("%%dynamo_exec Backend[1]\nx = 1\nself.no_such_thing")
    assert not ran.ok
    assert "in Backend[1]" in ran.error
    assert "AttributeError" in ran.error
    assert "self.no_such_thing" in ran.error
    assert served.run("print(await deployment.Backend.generate('on'))").text == "on!\n"
    assert pids(served) == before


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("Backend[7]", "no ready worker Backend[7]"),
        ("Backed", "did you mean 'Backend'?"),
        ("", "write Backend[0]"),
        ("Backend[x]", "write Backend[0]"),
    ],
)
def test_a_target_without_a_worker_is_an_error(served, target, message):
    ran = served.run(f"%%dynamo_exec {target}\n1")
    assert not ran.ok
    assert message in ran.error


def test_the_cell_ends_with_an_error_if_its_worker_ends(served):
    first, _ = pids(served)
    ran = served.run("%%dynamo_exec Backend[0]\nimport os\nos.kill(os.getpid(), 9)")
    assert not ran.ok
    assert "Backend[0] ended while the cell ran" in ran.error
    with pytest.raises(ProcessLookupError):
        os.kill(first, signal.SIG_DFL)


def test_a_notebook_without_a_deployment_is_an_error(kernel):
    kernel.load()
    assert "nothing is being served here" in kernel.run("%%dynamo_exec Backend\n1").error
