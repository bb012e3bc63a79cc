"""Cells that change what callers use of a service, while the graph is served and called. The kernel has cell ids."""

import json
import re

import pytest

SERVE = "deployment = await serve(Gateway, http_port=0)"
CELLS = {
    "imports": "import json\nfrom pydantic import BaseModel",
    "answer": "class Answer(BaseModel):\n    vector: list[float]\n    model: str = 'small'\n",
    "embedder": """\
@service(workers=2)
class Embedder:
    @dynamo_endpoint()
    async def embed(self, text: str) -> Answer:
        return Answer(vector=[len(text)])

    @dynamo_endpoint()
    async def words(self, text: str) -> AsyncIterator[str]:
        for word in text.split():
            yield word
""",
    "retriever": """\
@service(workers=2)
class Retriever:
    embedder = depends(Embedder)

    @dynamo_endpoint()
    async def retrieve(self, text: str) -> list[str]:
        found = await self.embedder.embed(text)
        words = [word async for word in self.embedder.words(text)]
        return [*words, f"{found.vector[0]:g}"]
""",
    "gateway": """\
@service
class Log:
    @dynamo_endpoint()
    async def note(self, text: str):
        return None


@service
class Gateway:
    retriever = depends(Retriever)
    log = depends(Log)

    @dynamo_endpoint()
    async def ask(self, text: str):
        await self.log.note(text)
        return await self.retriever.retrieve(text)
""",
    "link": "Gateway.link(Retriever)\nGateway.link(Log)",
}
LOAD = """\
import asyncio
from collections import Counter
from dynamo_nb.sdk.portal import portal
async def load():
    while not done:
        try:
            outcomes[json.dumps(await deployment.Gateway.ask("a b"))] += 1
        except Exception as error:
            outcomes[str(error)] += 1
done, outcomes = False, Counter()
loading = [asyncio.run_coroutine_threadsafe(load(), portal.loop) for _ in range(8)]
"""
UNTIL = "while not any({text!r} in one for one in list(outcomes)): await asyncio.sleep(0.02)"
EDITED = "print(json.dumps(sorted(deployment.edited)))"
END = "done = True\nfor one in loading: one.result(60)\nprint(json.dumps(dict(outcomes)))"


class Served:
    """The notebook of CELLS with its deployment."""

    def __init__(self, kernel):
        self.kernel = kernel

    def run(self, name, *changes):
        """Runs a cell of CELLS. changes: a text of the cell and its replacement, for each change."""
        text = CELLS[name]
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        ran = self.kernel.run(text, name)
        assert ran.ok, ran.error
        return ran.text

    def value(self, code):
        ran = self.kernel.run(code)
        assert ran.ok, ran.error
        return json.loads(ran.text)

    def pids(self):
        services = self.value("print(json.dumps(deployment.status.as_data()['services']))")
        return {n: sorted(w["pid"] for w in s["workers"]) for n, s in services.items() if s["workers"]}

    def load(self):
        assert self.kernel.run(LOAD).ok
        self.kernel.run(UNTIL.format(text="a"))

    def outcomes(self):
        return set(self.value(END))


@pytest.fixture
def served(shared_kernel):
    """The graph of CELLS. Changes of earlier tests are undone."""
    kernel = shared_kernel
    if kernel.run("deployment").ok:
        for name, text in CELLS.items():
            assert kernel.run(text, name).ok
        assert kernel.run("Gateway.link(Log)", "undo").ok
    else:
        kernel.load()
        for name, text in CELLS.items():
            assert kernel.run(text, name).ok
        ran = kernel.run(SERVE, "serve")
        assert ran.ok, ran.error
    served = Served(kernel)
    assert served.value("print(json.dumps(await deployment.Gateway.ask('a b')))") == ["a", "b", "3"]
    return served


OLD, NEW = '["a", "b", "3"]', '["a", "b", "new"]'
CHANGES = {
    "a renamed endpoint": (
        "embedder",
        [("def embed(", "def encode(")],
        "Retriever calls Embedder.embed, which this version does not have; it has encode, words",
        [("embedder.embed(", "embedder.encode("), ('f"{found.vector[0]:g}"', '"new"')],
    ),
    "another required argument": (
        "embedder",
        [("embed(self, text: str)", "embed(self, text: str, model: str)")],
        "Retriever calls Embedder.embed without 'model', which this version requires",
        [("embed(text)", "embed(text, 'big')"), ('f"{found.vector[0]:g}"', '"new"')],
    ),
    "arguments in another order": (
        "embedder",
        [("embed(self, text: str)", "embed(self, model: int, text: str)")],
        "Retriever calls Embedder.embed without 'text', which this version requires",
        [("embed(text)", "embed(1, text)"), ('f"{found.vector[0]:g}"', '"new"')],
    ),
    "one answer in place of a stream": (
        "embedder",
        [("words(self, text: str) -> AsyncIterator[str]", "words(self, text: str, n: int) -> list[str]"),
         ("for word in text.split():\n            yield word", "return text.split()")],
        "Retriever calls Embedder.words without 'n', which this version requires",
        [("[word async for word in self.embedder.words(text)]", "await self.embedder.words(text, 1)"),
         ('f"{found.vector[0]:g}"', '"new"')],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("cell", "edit", "message", "completion"), CHANGES.values(), ids=CHANGES)
def test_a_change_of_a_contract_waits_for_its_caller_and_then_no_call_fails(served, cell, edit, message, completion):
    served.load()
    before = served.pids()

    held = served.run(cell, *edit)

    assert message in held
    assert "the old version keeps serving" in held
    assert "Retriever" in held.partition("hint:")[2]
    assert served.pids() == before
    assert "Embedder" in served.value(EDITED)
    assert served.kernel.run("x = 1").text == "", "another cell does not repeat it"
    assert message in served.run(cell, *edit), "the cell itself does"

    completed = served.run("retriever", *completion)

    assert "replaced Embedder, Retriever in " in completed
    assert served.value(EDITED) == []
    served.kernel.run(UNTIL.format(text="new"))
    assert served.outcomes() == {OLD, NEW}


def test_a_renamed_field_of_a_message_waits_for_the_caller_that_reads_it(served):
    served.load()
    before = served.pids()

    held = served.run("answer", ("vector", "values"))
    assert "Retriever reads Answer.vector, which this version does not have" in held
    assert "Embedder creates an Answer without 'values', which this version requires" in held
    held = served.run("embedder", ("vector=", "values="))
    assert "Retriever reads Answer.vector" in held
    assert "Embedder creates" not in held
    assert served.pids() == before

    completed = served.run("retriever", ("found.vector", "found.values"), ("{found.values[0]:g}", "new"))

    assert "replaced Embedder, Retriever in " in completed
    served.kernel.run(UNTIL.format(text="new"))
    assert served.outcomes() == {OLD, NEW}


def test_a_caller_that_is_replaced_for_a_signature_says_so_and_no_call_fails(served):
    served.load()

    ran = served.run("embedder", ("embed(self, text: str)", "embed(self, text: str, model: str = 'small')"))

    assert "replaced Embedder, Retriever in " in ran
    assert "  Retriever too: it uses Embedder's signature\n" in ran
    assert served.outcomes() == {OLD}


def test_a_held_change_is_applied_where_the_user_says_so(served):
    assert "held back" in served.run("embedder", ("def embed(", "def encode("))
    refused = served.kernel.run("await deployment.update()")
    assert (refused.ok, refused.name) == (False, "ContractError")
    refused = served.kernel.run(SERVE, "serve")
    assert (refused.ok, refused.name) == (False, "ContractError")

    updated = served.kernel.run('await deployment.update(check="warn")')

    assert updated.ok
    assert "Retriever calls Embedder.embed, which this version does not have; it has encode, words" in updated.text
    failed = served.kernel.run("await deployment.Gateway.ask('a')")
    assert "Embedder has no endpoint 'embed'" in failed.error
    assert "replaced" in served.run("embedder")


def test_a_serving_cell_with_check_warn_holds_nothing_back(served):
    assert served.kernel.run(SERVE.replace(")", ', check="warn")'), "serve").ok
    assert "replaced Embedder, Retriever" in served.run("embedder", ("def embed(", "def encode("))
    assert "replaced Embedder" in served.run("embedder")
    assert served.kernel.run(SERVE, "serve").ok
    refused = served.kernel.run(SERVE.replace(")", ', check="never")'), "serve")
    assert 'use "hold" or "warn"' in refused.error


def test_a_link_that_is_used_is_removed_only_where_the_user_says_so(served):
    served.load()
    before = served.pids()

    held = served.kernel.run("Gateway.unlink(Log)", "unlink")

    assert held.ok
    assert re.search(r"Gateway calls Log.note [\d,]+ times a second, and would no longer be linked to Log", held.text)
    assert "Gateway.link(Log)" in held.text
    assert "Gateway.unlink(Log, force=True)" in held.text
    assert served.pids() == before
    assert served.kernel.run("Gateway.link(Log)", "undo").text == ""
    assert "held back" in served.kernel.run("Gateway.unlink(Log)", "unlink").text
    assert served.pids() == before
    assert set(served.value("print(json.dumps(dict(outcomes)))")) == {OLD}, "no call has failed"

    forced = served.kernel.run("Gateway.unlink(Log, force=True)", "force")

    assert "stopped Log" in forced.text
    unlinked = "Gateway.log is not linked to Log, and Gateway.log.note was used"
    served.kernel.run(UNTIL.format(text=unlinked))
    assert {text.splitlines()[0] for text in served.outcomes()} == {OLD, unlinked}


def test_a_link_that_is_tested_or_not_used_is_removed_at_once(served):
    assert "stopped Log" in served.kernel.run("Gateway.unlink(Log)", "unlink").text, "no call is made"
    assert served.kernel.run("Gateway.link(Log)", "undo").ok
    tested = "if self.log:\n            await self.log.note(text)"
    assert "replaced Gateway" in served.run("gateway", ("await self.log.note(text)", tested))
    served.load()

    assert "stopped Log" in served.kernel.run("Gateway.unlink(Log)", "unlink").text

    assert served.outcomes() == {OLD}
