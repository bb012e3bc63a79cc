"""Interrupted cells: the error that is shown, and the state of the deployment."""

import json
import os
import random

import pytest

GRAPH = """\
import asyncio
from pathlib import Path


@service
class Patient:
    def __init__(self, started: str = ""):
        self.started = started

    @async_on_start
    async def load(self):
        if self.started:
            Path(self.started).write_text(str(os.getpid()))
            await asyncio.Event().wait()

    @dynamo_endpoint()
    async def wait(self, gate: str) -> str:
        Path(gate).touch()
        await asyncio.Event().wait()

    @dynamo_endpoint()
    async def stream(self, gate: str) -> AsyncIterator[str]:
        yield "first"
        Path(gate).touch()
        await asyncio.Event().wait()
"""


@pytest.fixture(scope="module")
def served(shared_kernel):
    shared_kernel.load()
    for text in (GRAPH, "deployment = await serve(Patient, http_port=0, kernels=False)"):
        ran = shared_kernel.run(text)
        assert ran.ok, ran.error
    return shared_kernel


@pytest.mark.parametrize(
    "call",
    [
        "await deployment.Patient.wait({gate!r})",
        "async for _ in deployment.Patient.stream({gate!r}): pass",
        "deployment.Patient.wait({gate!r}).result()",
    ],
)
def test_an_interrupted_call_shows_the_users_line_and_no_frame_of_the_package(served, tmp_path, call):
    gate = tmp_path / "gate"
    code = call.format(gate=str(gate))

    ran = served.interrupted_at(gate, code)

    assert ran.name == "KeyboardInterrupt"
    assert ran.error.rstrip().endswith("KeyboardInterrupt:")
    assert f"----> 1 {code}" in ran.error
    assert "CancelledError" not in ran.error
    assert "dynamo_nb/" not in ran.error


def test_a_cancelled_task_is_not_shown_as_an_interrupt(served):
    ran = served.run("waiting = asyncio.ensure_future(asyncio.Event().wait())\nwaiting.cancel()\nawait waiting")

    assert ran.name == "CancelledError"
    assert "----> 3 await waiting" in ran.error


def test_an_interrupted_serve_leaves_nothing_behind(served, module_home, tmp_path):
    started = tmp_path / "started"
    before = sorted(path.name for path in module_home.iterdir())

    ran = served.interrupted_at(started, f"await serve(Patient, {{'Patient.started': {str(started)!r}}}, http_port=0)")

    assert ran.name == "KeyboardInterrupt"
    assert "dynamo_nb/" not in ran.error
    assert sorted(path.name for path in module_home.iterdir()) == before
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)
    assert served.run("deployment").ok


WORD = """\
@service
class Word:
    @dynamo_endpoint()
    async def say(self) -> str:
        return "before"
"""
SECONDS = 0.6
"""An interrupt at a random time in this range meets each operation before, during or after its effect."""


@pytest.fixture(scope="module")
def word(shared_kernel):
    shared_kernel.load()
    for text, cell in ((WORD, "word"), ("import json\nword = await serve(Word, name='word', http_port=0)", "serve")):
        ran = shared_kernel.run(text, cell)
        assert ran.ok, ran.error
    return shared_kernel


def state_of(kernel):
    """Returns what the deployment reports, what its workers answer, and what would be exported."""
    ran = kernel.run(
        "answers = {await word.Word.say() for _ in range(6)}\n"
        "served = word.status.services['Word']\n"
        "written = (word.export('exported') / 'code' / 'cells' / 'Word.py').read_text()\n"
        "print(json.dumps([sorted(answers), [w.state for w in served.workers], served.desired, "
        "word.spec.services['Word'].workers, word.spec.services['Word'].digest == served.digest, written]))"
    )
    assert ran.ok, ran.error
    return json.loads(ran.text.splitlines()[0])  # messages about a completed update may follow


OPERATIONS = {
    "scaling up": ("await word.scale(Word=3)", "await word.scale(Word=1)"),
    "scaling by a magic": ("%dynamo scale Word=2 -d word", "%dynamo scale Word=1 -d word"),
    "restarting": ("await word.restart('Word')", ""),
    "an edited cell": (WORD.replace("before", "after"), WORD),
    "exporting": ("for _ in range(40): word.export('exported')", ""),
    "a cell in a worker": ("%%dynamo_exec Word[0]\nimport asyncio\nawait asyncio.sleep(1)", ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_interrupted_operation_is_complete_or_has_no_effect(word, module_home, operation):
    cell, undo = OPERATIONS[operation]
    chance = random.Random(operation)
    assert word.run(WORD, "word").ok
    for _ in range(6):
        word.interrupted_after(chance.uniform(0, SECONDS), cell, "word" if cell.startswith("@service") else None)

        answers, states, desired, workers, same_digest, written = state_of(word)

        assert set(states) <= {"ready", "draining"}
        assert states.count("ready") == desired == workers
        assert same_digest
        assert len(answers) == 1, "all workers have one version"
        assert f'return "{answers[0]}"' in written, "the export has the same version"
        if undo:
            assert word.run(undo, "word" if undo.startswith("@service") else None).ok
    assert [path.name for path in module_home.iterdir() if path.name.startswith("word-")] == [
        word.run("print(word.id, end='')").text
    ]
    word.run("await word.restart('Word')")  # waits for workers that drain
    assert state_of(word)[:4] == [["before"], ["ready"], 1, 1]


@pytest.mark.slow
def test_a_deployment_can_be_stopped_after_an_interrupted_stop(word, module_home):
    chance = random.Random(1)
    for _ in range(3):
        ran = word.run("brief = await serve(Word, name='brief', http_port=0, kernels=False)")
        assert ran.ok, ran.error
        word.interrupted_after(chance.uniform(0, SECONDS), "await brief.stop()")

        ran = word.run("await brief.stop()\nprint(brief.ended)")

        assert ran.text == "True\n", ran.error
        assert not [path for path in module_home.iterdir() if path.name.startswith("brief-")]
