"""A cell that is interrupted: what stands under it, and what it leaves running."""

import json
import os
import random
import time

import pytest

GRAPH = """\
import asyncio
from pathlib import Path


@service
class Patient:
    def __init__(self, begun: str = ""):
        self.begun = begun

    @async_on_start
    async def load(self):
        if self.begun:
            Path(self.begun).write_text(str(os.getpid()))
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
def test_an_interrupted_call_shows_the_persons_line_and_no_frame_of_ours(served, tmp_path, call):
    gate = tmp_path / "gate"
    code = call.format(gate=str(gate))

    ran = served.interrupted_at(gate, code)

    assert ran.name == "KeyboardInterrupt"
    assert ran.error.rstrip().endswith("KeyboardInterrupt:")
    assert f"----> 1 {code}" in ran.error
    assert "CancelledError" not in ran.error
    assert "dynamo_nb/" not in ran.error


def test_what_is_cancelled_without_an_interrupt_is_shown_as_that(served):
    ran = served.run("waiting = asyncio.ensure_future(asyncio.Event().wait())\nwaiting.cancel()\nawait waiting")

    assert ran.name == "CancelledError"
    assert "----> 3 await waiting" in ran.error


def test_serving_that_is_interrupted_leaves_nothing(served, module_home, tmp_path):
    begun = tmp_path / "begun"
    before = sorted(path.name for path in module_home.iterdir())

    ran = served.interrupted_at(begun, f"await serve(Patient, {{'Patient.begun': {str(begun)!r}}}, http_port=0)")

    assert ran.name == "KeyboardInterrupt"
    assert "dynamo_nb/" not in ran.error
    assert sorted(path.name for path in module_home.iterdir()) == before
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)
    assert served.run("deployment").ok


WORD = """\
@service
class Word:
    @dynamo_endpoint()
    async def say(self) -> str:
        return "before"
"""
SECONDS = 0.6
"""In which each of these things is begun, done, or half done."""


@pytest.fixture(scope="module")
def word(shared_kernel):
    shared_kernel.load()
    for text, cell in ((WORD, "word"), ("import json\nword = await serve(Word, name='word', http_port=0)", "serve")):
        ran = shared_kernel.run(text, cell)
        assert ran.ok, ran.error
    return shared_kernel


def looked(kernel):
    """What the deployment says of itself, what its workers say, and what would be exported."""
    ran = kernel.run(
        "say = {await word.Word.say() for _ in range(6)}\n"
        "served = word.status.services['Word']\n"
        "written = (word.export('exported') / 'code' / 'cells' / 'Word.py').read_text()\n"
        "print(json.dumps([sorted(say), [w.state for w in served.workers], served.desired, "
        "word.spec.services['Word'].workers, word.spec.services['Word'].digest == served.digest, written]))"
    )
    assert ran.ok, ran.error
    return json.loads(ran.text.splitlines()[0])  # the notebook says below it what it brought about after all


ASKED = {
    "scaling up": ("await word.scale(Word=3)", "await word.scale(Word=1)"),
    "scaling by a magic": ("%dynamo scale Word=2 -d word", "%dynamo scale Word=1 -d word"),
    "restarting": ("await word.restart('Word')", ""),
    "an edited cell": (WORD.replace("before", "after"), WORD),
    "exporting": ("for _ in range(40): word.export('exported')", ""),
    "a cell in a worker": ("%%dynamo_exec Word[0]\nimport asyncio\nawait asyncio.sleep(1)", ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", ASKED)
def test_what_is_interrupted_is_as_before_or_as_asked(word, module_home, what):
    cell, back = ASKED[what]
    chance = random.Random(what)
    assert word.run(WORD, "word").ok
    for _ in range(6):
        request = word._ask(cell, "word" if cell.startswith("@service") else None)
        time.sleep(chance.uniform(0, SECONDS))  # the moment itself is what is tried out
        word.manager.interrupt_kernel()
        word._ran(request)

        said, states, wanted, told, same, written = looked(word)

        assert set(states) <= {"ready", "draining"}
        assert states.count("ready") == wanted == told
        assert same
        assert len(said) == 1, "one version answers"
        assert f'return "{said[0]}"' in written, "and it is the one that is exported"
        if back:
            assert word.run(back, "word" if back.startswith("@service") else None).ok
    assert [path.name for path in module_home.iterdir() if path.name.startswith("word-")] == [
        word.run("print(word.id, end='')").text
    ]
    word.run("await word.restart('Word')")  # nothing drains any more
    assert looked(word)[:4] == [["before"], ["ready"], 1, 1]


@pytest.mark.slow
def test_stopping_that_is_interrupted_stops_or_does_not(word, module_home):
    chance = random.Random(1)
    for _ in range(3):
        ran = word.run("brief = await serve(Word, name='brief', http_port=0, kernels=False)")
        assert ran.ok, ran.error
        request = word._ask("await brief.stop()")
        time.sleep(chance.uniform(0, SECONDS))
        word.manager.interrupt_kernel()
        word._ran(request)

        ran = word.run("await brief.stop()\nprint(brief.ended)")

        assert ran.text == "True\n", ran.error
        assert not [path for path in module_home.iterdir() if path.name.startswith("brief-")]
