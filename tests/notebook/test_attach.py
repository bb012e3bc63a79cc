"""A kernel that ends and one that takes up what it left running."""

import json
import os

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


class Life:
    """The life of one kernel in a notebook's folder."""

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

    def killed(self):
        os.kill(self.kernel.manager.provisioner.pid, 9)
        self.kernel.close()


@pytest.fixture
def lives(dynamo_home, tmp_path):
    begun = []

    def begin():
        begun.append(Life(tmp_path, dynamo_home))
        return begun[-1]

    yield begin
    for life in begun:
        if life.kernel.manager.is_alive():
            life.kernel.run("for one in __dynamo_notebook__.deployments: one.stop().result()")
            life.kernel.close()


@pytest.fixture
def first(lives):
    """A kernel that serves CELLS, detached and scaled."""
    life = lives()
    for name, text in CELLS.items():
        life.run(text, name)
    said = life.run(SERVE, "serve").text
    assert f"%dynamo attach {life.value('deployment.id')}" in said
    life.run("await deployment.scale(Backend=1)")
    return life


def known(life):
    """All that a deployment says of itself."""
    life.run("deployment.export('bundle')")
    written = {path: (life_folder(life) / path).read_bytes() for path in files(life_folder(life))}
    told = life.value(
        "[deployment.spec.model_dump(), deployment.config.rows(), deployment.config.as_json(), "
        "deployment.config.to_yaml(), str(deployment.picture), deployment.config.services['Backend'].arguments(), "
        "repr(deployment), deployment.metrics_url]"
    )
    return told, written, life.pids()


def life_folder(life):
    from pathlib import Path

    return Path(life.value("os.getcwd()"))


def files(folder):
    return sorted(p.relative_to(folder) for p in (folder / "bundle").rglob("*") if p.is_file())


def test_a_new_kernel_takes_up_what_a_killed_one_left(first, lives):
    before = known(first)
    first.killed()

    second = lives()
    ran = second.run("deployment = %dynamo attach", "attach")
    assert known(second) == before
    assert second.answer() == ["hello!", "big!"]
    assert second.value("str(__import__('inspect').signature(deployment.Frontend.generate))") == (
        "(text: str, loud: bool = False) -> collections.abc.AsyncIterator[str]"
    )
    refused = second.kernel.run("await deployment.Frontend.generate(3)")
    assert not refused.ok

    # The notebook runs again, cell by cell.
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


def test_a_notebook_that_has_run_again_in_part_changes_nothing(first, lives):
    first.killed()
    second = lives()
    second.run("%dynamo attach")
    second.run("(deployment,) = __dynamo_notebook__.deployments")
    before = second.pids()

    # Without the link both of its dependencies would run, without the configuration the suffix would be another.
    for name in ("backend", "other", "frontend"):
        assert second.run(CELLS[name], name).text == ""
    assert second.pids() == before

    changed = second.run(CELLS["backend"].replace("shape(word)", "shape(word) + '~'"), "backend")
    assert "replaced Backend" in changed.text
    assert second.answer() == ["hello~!", "big~!"], "the helper, the link and the configuration hold as they were"
    assert second.run("elsewhere = 1", deleted=["config"], cell_id="more").text.count("replaced Backend") == 1
    assert second.answer() == ["hello~-back", "big~-back"], "a configuration that was deleted from the page is gone"
    assert "stopped Backend" in second.run("Frontend.link(Other)", "link").text
    assert second.answer() == ["hello-other", "big-other"]


def test_a_cell_that_names_a_service_before_its_own_has_run_says_nothing(lives):
    named = {**CELLS, "frontend": CELLS["frontend"].replace("depends(Backend)", "depends('Backend')")}
    first = lives()
    for name, text in named.items():
        first.run(text, name)
    first.run(SERVE, "serve")
    first.killed()
    second = lives()
    second.run("deployment = %dynamo attach")
    before = second.pids()

    for name in ("helper", "other", "frontend", "config", "backend", "link"):
        assert second.run(named[name], name).text == "", name

    assert second.pids() == before
    assert "replaced Backend" in second.run(BACKEND.replace("shape(word)", "shape(word) + '~'"), "backend").text


def test_configuration_can_be_changed_before_any_cell_has_run(first, lives):
    first.killed()
    second = lives()
    second.run("from dynamo_nb import attach\ndeployment = attach('Frontend').result()")
    before = second.pids()

    second.run("await deployment.update({'Backend.suffix': '?'})")

    assert second.answer() == ["hello?", "big?"]
    assert second.pids()["Frontend"] == before["Frontend"]
    for name, text in CELLS.items():
        assert second.run(text, name).text == "", name
    assert second.answer() == ["hello?", "big?"]
    assert len(second.pids()["Backend"]) == 1


def test_who_looks_on_calls_and_changes_and_follows_no_cells(first, lives):
    owned = first.run("mine = await serve(Other, name='mine', http_port=0)")
    assert "keeps running" not in owned.text
    other = lives()
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
    assert first.run("here = 1").text == "", "its own cells say nothing new"
    other.run("%dynamo attach mine")
    assert other.value("len(__dynamo_notebook__.deployments)") == 1
    other.killed()
    assert first.value("await mine.Other.generate('A')") == ["a?"]
    first.run("await mine.stop()")


def test_a_deployment_that_was_detached_later_outlives_its_kernel(first, lives):
    first.run("mine = await serve(Other, name='mine', http_port=0)")
    assert "this notebook" in first.run("%dynamo ps").text
    first.run("await mine.detach()")
    assert "this notebook" not in first.run("%dynamo ps").text
    first.killed()
    second = lives()
    second.run("deployment = %dynamo attach mine")
    assert second.value("await deployment.Other.generate('A')") == ["a-other"]
    several = second.kernel.run("%dynamo attach nothing")
    assert "there is no deployment 'nothing'" in several.error
    second.run("(await __import__('dynamo_nb').attach('Frontend'))")
