"""Editing a graph while it is served, in a kernel, with the ids of cells that a front end sends."""

import pytest

SERVE = "deployment = await serve(Frontend, http_port=0)"
CELLS = {
    "imports": "import json",
    "helper": "def shape(word):\n    return word.lower()",
    "backend": """\
@service
class Backend:
    def __init__(self, suffix: str = "-back"):
        self.suffix = suffix

    @dynamo_endpoint()
    async def generate(self, text: str) -> AsyncIterator[str]:
        for word in text.split():
            yield shape(word) + self.suffix
""",
    "other": """\
@service
class Other:
    @dynamo_endpoint()
    async def generate(self, text: str) -> AsyncIterator[str]:
        yield "other:" + text
""",
    "middle": """\
@service
class Middle:
    backend = depends(Backend)
    other = depends(Other)

    @dynamo_endpoint()
    async def generate(self, text: str) -> AsyncIterator[str]:
        async for word in (self.backend or self.other).generate(text):
            yield word
""",
    "frontend": """\
@service
class Frontend:
    middle = depends(Middle)

    @dynamo_endpoint()
    async def generate(self, text: str) -> AsyncIterator[str]:
        async for word in self.middle.generate(shape(text)):
            yield word
""",
    "link": "Frontend.link(Middle).link(Backend)",
    "config": '%%dynamo_config\nBackend:\n  suffix: "!"\n',
}


class Served:
    """The notebook of CELLS with its deployment."""

    def __init__(self, kernel):
        self.kernel = kernel

    def run(self, name, *change):
        """Runs a cell, with one text in it changed for another if two are given."""
        text = CELLS[name].replace(*change) if change else CELLS[name]
        assert not change or text != CELLS[name]
        return self.kernel.run(text, name)

    def value(self, expression):
        ran = self.kernel.run(f"print(json.dumps({expression}))")
        assert ran.ok, ran.error
        return __import__("json").loads(ran.text)

    def answer(self, text="Hello Big"):
        return self.value(f"await deployment.Frontend.generate({text!r})")

    def pids(self):
        services = self.value("deployment.state['services']")
        return {n: sorted(w["pid"] for w in s["workers"]) for n, s in services.items() if s["workers"]}

    def untouched(self, before):
        """The services whose workers are the same as before."""
        return {name for name, pids in self.pids().items() if pids == before.get(name)}


@pytest.fixture
def served(shared_kernel):
    """The graph as CELLS have it; what an earlier test has changed is changed back."""
    kernel = shared_kernel
    if kernel.run("deployment").ok:
        for name in CELLS:
            assert kernel.run(CELLS[name], name).ok
    else:
        kernel.load()
        for name in CELLS:
            assert kernel.run(CELLS[name], name).ok
        ran = kernel.run(SERVE)
        assert ran.ok, ran.error
    served = Served(kernel)
    assert served.answer() == ["hello!", "big!"]
    return served


def test_an_edited_service_is_replaced_alone(served):
    before = served.pids()
    ran = served.run("backend", "shape(word) +", "shape(word).title() +")
    assert ran.ok, ran.error
    assert ran.text.split(": ")[1].startswith("replaced Backend in ")
    assert served.answer() == ["Hello!", "Big!"]
    assert served.untouched(before) == {"Middle", "Frontend"}


def test_a_helper_replaces_the_services_that_use_it(served):
    before = served.pids()
    assert served.run("helper", "lower", "upper").ok
    assert served.answer() == ["HELLO!", "BIG!"]
    assert served.untouched(before) == {"Middle"}


def test_another_signature_replaces_the_callers_too(served):
    before = served.pids()
    assert served.run("backend", "text: str)", 'text: str, end: str = "?")').ok
    assert served.untouched(before) == {"Frontend"}


def test_an_edited_link_does_what_it_says(served):
    before = served.pids()
    ran = served.run("link", "link(Backend)", "link(Other)")
    assert ran.ok, ran.error
    assert "stopped Backend" in ran.text
    assert served.answer() == ["other:hello big"]
    assert served.untouched(before) == {"Frontend"}
    assert set(served.pids()) == {"Frontend", "Middle", "Other"}


def test_edited_configuration_replaces_the_services_concerned(served):
    before = served.pids()
    assert served.run("config", '"!"', '"?"').ok
    assert served.answer() == ["hello?", "big?"]
    assert served.untouched(before) == {"Middle", "Frontend"}


def test_a_cell_that_touches_no_service_does_nothing(served):
    before = served.pids()
    again = served.run("backend")
    other = served.kernel.run("shown = 1 + 1")
    assert (again.ok, again.text, other.ok, other.text) == (True, "", True, "")
    assert served.untouched(before) == {"Backend", "Middle", "Frontend"}


def test_configuration_that_cannot_be_used_is_refused_under_its_cell(served):
    before = served.pids()
    ran = served.run("config", "suffix", "sufix")
    assert not ran.ok
    assert "did you mean 'suffix'? @ Backend.sufix" in ran.error
    assert ":3)" in ran.error  # the line of the cell
    assert served.kernel.run("elsewhere = 1").ok
    assert served.answer() == ["hello!", "big!"]
    assert served.untouched(before) == {"Backend", "Middle", "Frontend"}


def test_a_service_that_does_not_start_leaves_the_old_one_serving(served):
    before = served.pids()
    ran = served.run("backend", "self.suffix = suffix", 'raise OSError("no weights here")')
    assert not ran.ok
    assert ran.error.count("no weights here") == 2, ran.error  # the line itself, and what it raised
    assert 'raise OSError("no weights here")' in ran.error
    assert "supervisor.py" not in ran.error
    assert served.answer() == ["hello!", "big!"]

    elsewhere = served.kernel.run("x = 1")  # what was refused is not tried again by other cells
    assert (elsewhere.ok, elsewhere.text) == (True, "")
    again = served.run("backend", "self.suffix = suffix", 'raise OSError("no weights here")')
    assert not again.ok, "the cell itself tries again"
    assert served.untouched(before) == {"Backend", "Middle", "Frontend"}

    mended = served.run("backend", "self.suffix = suffix", 'self.suffix = suffix + "~"')
    assert mended.ok, mended.error
    assert served.answer() == ["hello!~", "big!~"]


def test_a_name_that_is_missing_is_told_once_and_defining_it_goes_on(served):
    ran = served.run("backend", "shape(word)", "later(word)")
    assert not ran.ok
    assert "'later' is defined nowhere" in ran.error
    assert served.kernel.run("x = 2").ok
    ran = served.kernel.run("def later(word):\n    return word[::-1]", "later")
    assert ran.ok, ran.error
    assert "replaced Backend" in ran.text
    assert served.answer() == ["olleh!", "gib!"]


def test_a_service_deleted_from_the_namespace_is_told(served):
    before = served.pids()
    assert served.kernel.run("del Frontend").ok
    assert served.untouched(before) == {"Backend", "Middle", "Frontend"}
