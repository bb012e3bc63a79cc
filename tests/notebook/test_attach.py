"""A deployment outlives its kernel, and another kernel attaches to it."""

import json
import os
from pathlib import Path

import pytest
from cell_runners import Kernel

from dynamo_nb.control.record import records

BACKEND = """\
@service
class Backend:
    def __init__(self, suffix: str = "-back"):
        self.suffix = suffix

    @dynamo_endpoint()
    async def generate(self, text: str) -> AsyncIterator[str]:
        for word in text.split():
            yield shape(word) + self.suffix
"""
CELLS = {
    "helper": "def shape(word):\n    return word.lower()",
    "backend": BACKEND,
    "other": BACKEND.replace("class Backend", "class Other").replace("-back", "-other"),
    "frontend": """\
@service
class Frontend:
    backend = depends(Backend)
    other = depends(Other)

    @dynamo_endpoint()
    async def generate(self, text: str, loud: bool = False) -> AsyncIterator[str]:
        async for word in (self.backend or self.other).generate(text):
            yield word.upper() if loud else word
""",
    "link": "Frontend.link(Backend)",
    "config": '%%dynamo_config\nBackend:\n  suffix: "!"\n',
}
SERVE = "deployment = await serve(Frontend, {'Backend.ServiceArgs.workers': 2}, http_port=0, detach=True)"


class NotebookKernel:
    """One kernel of a notebook, from its start to its end."""

    def __init__(self, folder, home):
        self.kernel = Kernel(folder, home).load()
        self.run("import json")

    def run(self, text, cell_id=None, **more):
        ran = self.kernel.run(text, cell_id, **more)
        assert ran.ok, ran.error
        return ran

    def value(self, expression):
        return json.loads(self.run(f"print(json.dumps({expression}))").text)

    def pids(self):
        services = self.value("deployment.status.as_data()['services']")
        return {n: sorted(w["pid"] for w in s["workers"]) for n, s in services.items() if s["workers"]}

    def answer(self):
        return self.value("await deployment.Frontend.generate('Hello Big')")

    def kill(self):
        os.kill(self.kernel.manager.provisioner.pid, 9)
        self.kernel.close()


@pytest.fixture
def new_kernel(dynamo_home, tmp_path):
    """Starts kernels of the same notebook. Deployments and kernels that are left are stopped."""
    started = []

    def start():
        started.append(NotebookKernel(tmp_path, dynamo_home))
        return started[-1]

    yield start
    for notebook in started:
        if notebook.kernel.manager.is_alive():
            notebook.kernel.run("for one in __dynamo_notebook__.deployments: one.stop().result()")
            notebook.kernel.close()


@pytest.fixture
def first(new_kernel):
    """A kernel that serves CELLS, detached and scaled."""
    notebook = new_kernel()
    for name, text in CELLS.items():
        notebook.run(text, name)
    printed = notebook.run(SERVE, "serve").text
    assert f"%dynamo attach {notebook.value('deployment.id')}" in printed
    notebook.run("await deployment.scale(Backend=1)")
    return notebook


def description(notebook):
    """All public data of a deployment: its properties, the files of its bundle and its pids."""
    notebook.run("deployment.export('bundle')")
    folder = Path(notebook.value("os.getcwd()"))
    bundle = {path.relative_to(folder): path.read_bytes() for path in (folder / "bundle").rglob("*") if path.is_file()}
    data = notebook.value(
        "[deployment.spec.model_dump(), deployment.config.rows(), deployment.config.as_json(), "
        "deployment.config.to_yaml(), str(deployment.picture), deployment.config.services['Backend'].arguments(), "
        "repr(deployment), deployment.metrics_url]"
    )
    return data, bundle, notebook.pids()


def test_a_new_kernel_attaches_to_the_deployment_of_a_killed_one(first, new_kernel):
    before = description(first)
    first.kill()

    second = new_kernel()
    ran = second.run("deployment = %dynamo attach", "attach")
    assert description(second) == before
    assert second.answer() == ["hello!", "big!"]
    assert second.value("str(__import__('inspect').signature(deployment.Frontend.generate))") == (
        "(text: str, loud: bool = False) -> collections.abc.AsyncIterator[str]"
    )
    assert not second.kernel.run("await deployment.Frontend.generate(3)").ok

    # All cells run again.
    pids = second.pids()
    for name, text in CELLS.items():
        assert second.run(text, name).text == "", name
    assert second.pids() == pids
    assert second.answer() == ["hello!", "big!"]

    ran = second.run(BACKEND.replace("yield shape(word)", "yield shape(word).title()"), "backend")
    assert "replaced Backend in" in ran.text
    assert second.answer() == ["Hello!", "Big!"]
    assert second.pids()["Frontend"] == pids["Frontend"]
    assert len(second.pids()["Backend"]) == 1
    second.run("%dynamo stop")
    assert list(records()) == []


def test_cells_that_have_not_run_again_stay_in_effect(first, new_kernel):
    first.kill()
    second = new_kernel()
    second.run("%dynamo attach")
    second.run("(deployment,) = __dynamo_notebook__.deployments")
    before = second.pids()

    # Without the old link, both dependencies would run; without the old configuration, the suffix would differ.
    for name in ("backend", "other", "frontend"):
        assert second.run(CELLS[name], name).text == ""
    assert second.pids() == before

    changed = second.run(CELLS["backend"].replace("shape(word)", "shape(word) + '~'"), "backend")
    assert "replaced Backend" in changed.text
    assert second.answer() == ["hello~!", "big~!"], "the old helper, link and configuration are in effect"
    assert second.run("elsewhere = 1", deleted=["config"], cell_id="more").text.count("replaced Backend") == 1
    assert second.answer() == ["hello~-back", "big~-back"], "a configuration cell that was deleted has no effect"
    assert "stopped Backend" in second.run("Frontend.link(Other)", "link").text
    assert second.answer() == ["hello-other", "big-other"]


def test_a_cell_may_name_a_service_whose_cell_has_not_run_again(new_kernel):
    named = {**CELLS, "frontend": CELLS["frontend"].replace("depends(Backend)", "depends('Backend')")}
    first = new_kernel()
    for name, text in named.items():
        first.run(text, name)
    first.run(SERVE, "serve")
    first.kill()
    second = new_kernel()
    second.run("deployment = %dynamo attach")
    before = second.pids()

    for name in ("helper", "other", "frontend", "config", "backend", "link"):
        assert second.run(named[name], name).text == "", name

    assert second.pids() == before
    assert "replaced Backend" in second.run(BACKEND.replace("shape(word)", "shape(word) + '~'"), "backend").text


def test_configuration_can_be_changed_before_any_cell_has_run_again(first, new_kernel):
    first.kill()
    second = new_kernel()
    second.run("from dynamo_nb import attach\ndeployment = attach('Frontend').result()")
    before = second.pids()

    second.run("await deployment.update({'Backend.suffix': '?'})")

    assert second.answer() == ["hello?", "big?"]
    assert second.pids()["Frontend"] == before["Frontend"]
    for name, text in CELLS.items():
        assert second.run(text, name).text == "", name
    assert second.answer() == ["hello?", "big?"]
    assert len(second.pids()["Backend"]) == 1


def test_an_observer_can_call_and_change_a_deployment_which_does_not_follow_its_cells(first, new_kernel):
    owned = first.run("mine = await serve(Other, name='mine', http_port=0)")
    assert "is detached" not in owned.text
    other = new_kernel()
    deployment_id = other.run("deployment = %dynamo attach mine") and other.value("deployment.id")
    assert other.value("await deployment.Other.generate('A')") == ["a-other"]
    listed = other.run("%dynamo ps").text.splitlines()
    row = next(line for line in listed if line.startswith(deployment_id))
    assert f"notebook {first.value('os.getpid()')}, attached here" in row

    other.run(CELLS["helper"], "helper")
    edited = other.run(CELLS["other"].replace("-other", "-edited"), "other")
    assert edited.text == ""
    assert other.value("await deployment.Other.generate('A')") == ["a-other"]

    other.run("await deployment.update({'Other.suffix': '?'})")
    assert first.value("await mine.Other.generate('A')") == ["a?"]
    assert first.value("[v for k, v, _ in mine.config.rows() if k == 'Other.suffix']") == ["?"]
    assert first.run("here = 1").text == "", "the owner's cells are as before"
    other.run("%dynamo attach mine")
    assert other.value("len(__dynamo_notebook__.deployments)") == 1
    other.kill()
    assert first.value("await mine.Other.generate('A')") == ["a?"]
    first.run("await mine.stop()")


def test_a_deployment_outlives_its_kernel_if_it_was_detached_later(first, new_kernel):
    first.run("mine = await serve(Other, name='mine', http_port=0)")
    assert "this notebook" in first.run("%dynamo ps").text
    first.run("await mine.detach()")
    assert "this notebook" not in first.run("%dynamo ps").text
    first.kill()
    second = new_kernel()
    second.run("deployment = %dynamo attach mine")
    assert second.value("await deployment.Other.generate('A')") == ["a-other"]
    failed = second.kernel.run("%dynamo attach nothing")
    assert "deployment 'nothing' not found" in failed.error
    second.run("(await __import__('dynamo_nb').attach('Frontend'))")


@pytest.mark.parametrize(
    "code",
    [
        "await attach('no such name')",
        "await attach()",
        "found = await attach('no such name')",
        "print((await attach('no such name')).urls)",
        "await asyncio.gather(attach('no such name'), attach())",
        "async with await attach('no such name') as found: pass",
        "attach('no such name').result()",
    ],
)
def test_a_deployment_that_is_not_there_is_an_error_of_the_cell(shared_kernel, code):
    shared_kernel.load()
    assert shared_kernel.run("import asyncio\nfrom dynamo_nb import attach").ok

    failed = shared_kernel.run(code)

    assert not failed.ok
    assert "DeploymentError" in failed.error
    assert "nothing is" in failed.error
    assert shared_kernel.run("print(6 * 7)").text.strip() == "42"
