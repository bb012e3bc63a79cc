"""A kernel that ends and one that takes up what it left running."""

import json
import os

import pytest
from cell_runners import Kernel

from dynamo_nb.deploy.home import records

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
    "other": BACKEND.replace("class Backend", "class Other").replace("self.suffix\n\n", "self.suffix + 'other'\n\n"),
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
        services = self.value("deployment.state['services']")
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
