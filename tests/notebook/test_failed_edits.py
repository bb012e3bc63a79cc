"""Edits that fail or are interrupted, and what is shown while workers start: who serves is always said."""

import json

import pytest

BACKEND = """\
import os
import time
from pathlib import Path

@service
class Backend:
    def __init__(self, gate: str = ""):
        if gate:
            Path(gate + ".reached").touch()
        while gate and not os.path.exists(gate):
            time.sleep(0.02)

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return text + "!"
"""
FRONTEND = """\
@service
class Frontend:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return await self.backend.say(text)
"""
SERVE = "rag = await serve(Frontend, {'Backend.workers': 2}, http_port=0, kernels=False)"
STILL = "The old version of Backend still serves."
EDITS = {
    "it does not start": ('Path(gate + ".reached").touch()', "pass\n        raise OSError('no weights here')"),
    "a name is missing": ("return text +", "return later(text) +"),
    "a syntax error": ("return text +", "return text text"),
    "the cell raises an error first": ("import time", "import time\n1 / 0"),
    "the cell raises an error afterwards": ('"!"\n', '"!"\n\n1 / 0\n'),
}


@pytest.fixture
def served(shared_kernel):
    """The notebook with its deployment. Edits of earlier tests are undone."""
    if not shared_kernel.run("rag").ok:
        shared_kernel.load()
        shared_kernel.run("import json")
        for text, cell in (
            (BACKEND, "backend"),
            (FRONTEND, "frontend"),
            ("%dynamo graph Frontend", "graph"),
            (SERVE, "serve"),
        ):
            ran = shared_kernel.run(text, cell)
            assert ran.ok, ran.error
    ran = shared_kernel.run(BACKEND, "backend")
    assert ran.ok, ran.error
    assert edited(shared_kernel) == []
    return shared_kernel


def edited(kernel):
    """The services that are marked, as data and in the picture."""
    found, picture = json.loads(kernel.run("print(json.dumps([sorted(rag.edited), str(rag.picture)]))").text)
    notes = json.loads(kernel.run("print(json.dumps({n.name: n.note for n in rag.picture.nodes}))").text)
    assert found == [name for name, note in notes.items() if "edited, not served" in note], picture
    return found


def answer(kernel):
    return kernel.run("print(await rag.Frontend.say('a'))").text.strip()


@pytest.mark.parametrize("case", EDITS)
def test_a_failed_edit_says_that_the_old_version_serves_and_marks_the_service_until_a_good_edit(served, case):
    ran = served.run(BACKEND.replace(*EDITS[case]), "backend")

    assert not ran.ok
    assert (ran.text + ran.error).count(STILL) == 1, ran.text + ran.error
    assert edited(served) == ["Backend"]
    assert answer(served) == "a!"
    if case != "the cell raises an error afterwards":  # its definitions count: the next cell deploys them
        assert served.run("elsewhere = 1", "elsewhere").ok
        assert edited(served) == ["Backend"], "another cell does not serve it"
    good = served.run(BACKEND.replace('"!"', '"?"'), "backend")
    assert good.ok, good.error
    assert "still serves" not in good.text
    assert edited(served) == []
    assert answer(served) == "a?"


def test_an_interrupted_edit_says_that_the_old_version_serves(served, tmp_path):
    slow = BACKEND.replace('gate: str = ""', f"gate: str = {str(tmp_path / 'gate')!r}")

    ran = served.interrupted_at(tmp_path / "gate.reached", slow)

    assert ran.name == "KeyboardInterrupt"
    assert (ran.text + ran.error).count(STILL) == 1, ran.text + ran.error
    assert edited(served) == ["Backend"]
    assert served.run("elsewhere = 1", "elsewhere").ok
    assert edited(served) == ["Backend"]
    assert answer(served) == "a!"
    assert served.run(BACKEND, "backend").ok
    assert edited(served) == []


def test_an_update_and_a_serving_cell_that_fail_say_it_too(served):
    broken = BACKEND.replace('Path(gate + ".reached").touch()', "raise OSError('no gate')")
    assert served.run(broken, "backend").ok, "without a gate it starts"
    for code in (
        "await rag.update({'Backend.gate': 'x'})",
        SERVE.replace("'Backend.workers': 2", "'Backend.gate': 'x'"),
    ):
        ran = served.run(code, "serve")
        assert "no gate" in ran.error
        assert ran.error.count(STILL) == 1, ran.error
    assert answer(served) == "a!"


def states_until(kernel, code, cell, done):
    """Runs a cell, and returns the states that widgets showed until `done` returned True for one, and how it ended."""
    shown = []

    def seen(state):
        if "states" in state:
            shown.append(state["states"])
            return done(state["states"])
        return False

    return shown, kernel.run_watched(code, cell, seen)


def test_the_graph_shows_the_states_of_a_first_start_and_of_an_update(shared_kernel, tmp_path):
    kernel = shared_kernel.load()
    kernel.run("for one in __dynamo_notebook__.deployments: one.stop().result()")
    gates = [tmp_path / "first", tmp_path / "second"]
    for text, cell in ((BACKEND, "backend"), (FRONTEND, "frontend"), ("%dynamo graph Frontend", "graph")):
        assert kernel.run(text, cell).ok
    gated = SERVE.replace("'Backend.workers': 2", f"'Backend.workers': 2, 'Backend.gate': {str(gates[0])!r}")

    def starting(states):
        found = states["Backend"]["state"] == "starting" and states["Backend"].get("workers") == "0/2"
        if found:
            gates[0].touch()
        return found

    shown, ran = states_until(kernel, gated, "serve", starting)
    assert ran.ok, ran.error
    assert shown[-1]["Backend"]["note"] == "0 of 2 ready"
    assert shown[-1]["Frontend"]["state"] == "starting"
    kernel.run("'the states after the start are shown'")

    def updating(states):
        found = states["Backend"]["state"] == "updating"
        if found:
            gates[1].touch()
        return found

    shown, ran = states_until(kernel, gated.replace(str(gates[0]), str(gates[1])), "serve", updating)
    assert ran.ok, ran.error
    assert shown[-1]["Backend"]["note"] == "2 old serve, 0 of 2 new ready"
    assert shown[-1]["Frontend"]["state"] == "ready"
    assert not [states for states in shown if states["Backend"]["state"] == "starting"], (
        "an update does not say starting"
    )


def test_a_first_start_that_fails_leaves_the_graph_without_states(shared_kernel):
    kernel = shared_kernel.load()
    kernel.run("for one in __dynamo_notebook__.deployments: one.stop().result()")
    assert kernel.run(BACKEND.replace("if gate:", "raise OSError('no weights here')\n        if gate:"), "backend").ok
    assert kernel.run(FRONTEND, "frontend").ok
    kernel.run("%dynamo graph Frontend", "graph")

    ran = kernel.run(SERVE, "serve")

    assert "no weights here" in ran.error
    assert "still serves" not in ran.error + ran.text
    states = [update["states"] for update in ran.updates if "states" in update]
    assert not states or states[-1]["Backend"]["state"] == "", "nothing is served"
    assert kernel.run(BACKEND, "backend").ok
