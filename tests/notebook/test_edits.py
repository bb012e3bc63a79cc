"""Cells that are edited while their graph is served. The kernel receives cell ids, as from a front end."""

import json
import re

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
        print("asked for", text)
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

LOAD = """\
import asyncio
from dynamo_nb.sdk.portal import portal
async def load():
    while not done:
        answers.extend(await deployment.Frontend.generate("Hello"))
done, answers = False, []
loading = [asyncio.run_coroutine_threadsafe(load(), portal.loop) for _ in range(16)]
"""


class Served:
    """The notebook of CELLS with its deployment."""

    def __init__(self, kernel):
        self.kernel = kernel

    def run(self, name, *change):
        """Runs a cell of CELLS. change: a text of the cell, and its replacement."""
        text = CELLS[name].replace(*change) if change else CELLS[name]
        assert not change or text != CELLS[name]
        return self.kernel.run(text, name)

    def value(self, expression):
        ran = self.kernel.run(f"print(json.dumps({expression}))")
        assert ran.ok, ran.error
        return json.loads(ran.text)

    def answer(self, text="Hello Big"):
        return self.value(f"await deployment.Frontend.generate({text!r})")

    def pids(self):
        services = self.value("deployment.status.as_data()['services']")
        return {n: sorted(w["pid"] for w in s["workers"]) for n, s in services.items() if s["workers"]}

    def unchanged(self, before):
        """Returns the services whose workers are the same as before."""
        return {name for name, pids in self.pids().items() if pids == before.get(name)}


@pytest.fixture
def served(shared_kernel):
    """The graph of CELLS. Changes of earlier tests are undone."""
    kernel = shared_kernel
    if kernel.run("deployment").ok:
        for name in sorted(CELLS):  # Backend first: no cell succeeds while Backend is broken
            assert kernel.run(CELLS[name], name).ok
    else:
        kernel.load()
        for name, text in CELLS.items():
            assert kernel.run(text, name).ok
        ran = kernel.run(SERVE, "serve")
        assert ran.ok, ran.error
    served = Served(kernel)
    assert served.answer() == ["hello!", "big!"]
    return served


def test_only_the_edited_service_is_replaced(served):
    before = served.pids()
    ran = served.run("backend", "shape(word) +", "shape(word).title() +")
    assert ran.ok, ran.error
    assert ran.text.split(": ")[1].startswith("replaced Backend in ")
    assert served.answer() == ["Hello!", "Big!"]
    assert served.unchanged(before) == {"Middle", "Frontend"}


def test_an_edited_helper_replaces_the_services_that_use_it(served):
    before = served.pids()
    assert served.run("helper", "lower", "upper").ok
    assert served.answer() == ["HELLO!", "BIG!"]
    assert served.unchanged(before) == {"Middle"}


def test_a_changed_signature_replaces_the_callers_too(served):
    before = served.pids()
    assert served.run("backend", "text: str)", 'text: str, end: str = "?")').ok
    assert served.unchanged(before) == {"Frontend"}


def test_an_edited_link_replaces_the_earlier_link(served):
    before = served.pids()
    ran = served.run("link", "link(Backend)", "link(Other)")
    assert ran.ok, ran.error
    assert "stopped Backend" in ran.text
    assert served.answer() == ["other:hello big"]
    assert served.unchanged(before) == {"Frontend"}
    assert set(served.pids()) == {"Frontend", "Middle", "Other"}


def test_no_call_fails_while_a_link_is_edited(served):
    assert served.kernel.run(LOAD).ok
    assert "stopped Backend" in served.run("link", "link(Backend)", "link(Other)").text
    ended = served.kernel.run("done = True\nfor one in loading: one.result(60)\nprint(len(answers) > 16)")
    assert (ended.ok, ended.text) == (True, "True\n"), ended.error
    assert served.value("sorted(set(answers))") == ["hello!", "other:hello"]


def test_edited_configuration_replaces_the_configured_services(served):
    before = served.pids()
    assert served.run("config", '"!"', '"?"').ok
    assert served.answer() == ["hello?", "big?"]
    assert served.unchanged(before) == {"Middle", "Frontend"}


def test_deleting_a_cell_removes_its_configuration_but_not_its_definitions(served):
    assert served.kernel.run("%%dynamo_config\nBackend:\n  suffix: '?'\n", "temporary").ok
    assert served.answer() == ["hello?", "big?"]
    before = served.pids()

    ran = served.kernel.run("elsewhere = 3", "elsewhere", deleted=["temporary", "helper", "backend"])

    assert ran.ok, ran.error
    assert "replaced Backend" in ran.text
    assert served.answer() == ["hello!", "big!"]
    assert served.unchanged(before) == {"Middle", "Frontend"}


def test_a_cell_without_changes_to_a_service_replaces_nothing(served):
    before = served.pids()
    again = served.run("backend")
    other = served.kernel.run("shown = 1 + 1")
    assert (again.ok, again.text, other.ok, other.text) == (True, "", True, "")
    assert served.unchanged(before) == {"Backend", "Middle", "Frontend"}


def test_a_value_that_is_changed_in_place_reaches_the_workers(served):
    assert served.kernel.run("ends = ['.']", "ends").ok
    assert served.run("backend", "+ self.suffix", "+ self.suffix + ends[-1]").ok

    changed = served.kernel.run("ends.append('?')", "change")

    assert changed.ok
    assert "replaced Backend" in changed.text
    assert served.answer() == ["hello!?", "big!?"]
    assert served.kernel.run("elsewhere = 2").text == ""
    assert served.run("backend").ok
    assert served.kernel.run("ends.append('!')", "change").text == "", "no service uses the value now"


def test_a_name_assigned_in_a_second_cell_is_noted_once_for_all_runs_of_the_cells(served):
    assert served.kernel.run("mark = '.'", "first").ok
    assert served.run("backend", "+ self.suffix", "+ self.suffix + mark").ok

    noted = served.kernel.run("mark = '?'", "second")

    assert re.search(r"^mark is from cell \d+ \(cell \d+ set it before\)$", noted.text, re.MULTILINE)
    assert served.answer() == ["hello!?", "big!?"]
    assert "mark is from" not in served.kernel.run("mark = ','", "second").text, "the same cell runs again"
    assert served.answer() == ["hello!,", "big!,"]
    assert "mark is from" in served.kernel.run("mark = ':'", "first").text, "now the other cell assigns it last"


def test_invalid_configuration_is_an_error_under_its_cell(served):
    before = served.pids()
    ran = served.run("config", "suffix", "sufix")
    assert not ran.ok
    assert "Backend.sufix: nothing in Backend reads 'sufix': did you mean 'suffix'?" in ran.error
    assert ":3)" in ran.error  # the line of the cell
    assert served.kernel.run("elsewhere = 1").ok
    assert served.answer() == ["hello!", "big!"]
    assert served.unchanged(before) == {"Backend", "Middle", "Frontend"}


def test_a_service_that_does_not_start_leaves_the_old_one_serving(served):
    before = served.pids()
    ran = served.run("backend", "self.suffix = suffix", 'raise OSError("no weights here")')
    assert not ran.ok
    assert ran.error.count("Traceback") == ran.error.count('raise OSError("no weights here")') == 1
    assert re.findall(r", line \d+, in \w+|  File ", ran.error) == [", line 4, in __init__"], (
        "only the user's own frame"
    )
    assert re.search(r'\n  cell \d+ "Backend", line 4, in __init__\n', ran.error)
    assert served.answer() == ["hello!", "big!"]

    elsewhere = served.kernel.run("x = 1")  # other cells do not repeat an update that has failed
    assert (elsewhere.ok, elsewhere.text) == (True, "")
    again = served.run("backend", "self.suffix = suffix", 'raise OSError("no weights here")')
    assert not again.ok, "the cell itself repeats it"
    assert served.unchanged(before) == {"Backend", "Middle", "Frontend"}

    corrected = served.run("backend", "self.suffix = suffix", 'self.suffix = suffix + "~"')
    assert corrected.ok, corrected.error
    assert served.answer() == ["hello!~", "big!~"]


def test_a_missing_name_is_reported_once_and_defining_it_completes_the_update(served):
    ran = served.run("backend", "shape(word)", "later(word)")
    assert not ran.ok
    assert "'later' is defined nowhere" in ran.error
    assert served.kernel.run("x = 2").ok
    ran = served.kernel.run("def later(word):\n    return word[::-1]", "later")
    assert ran.ok, ran.error
    assert "replaced Backend" in ran.text
    assert served.answer() == ["olleh!", "gib!"]


def test_deleting_a_variable_stops_no_service(served):
    before = served.pids()
    assert served.kernel.run("del Frontend").ok
    assert served.unchanged(before) == {"Backend", "Middle", "Frontend"}


def test_a_deployment_is_updated_when_the_extension_is_loaded_again(served):
    assert served.kernel.run("%reload_ext dynamo_nb").ok
    assert served.kernel.run("%unload_ext dynamo_nb").ok
    assert served.run("helper", "lower", "upper").ok
    assert served.answer() == ["hello!", "big!"], "no update while the extension is unloaded"
    assert served.kernel.run("%load_ext dynamo_nb").ok
    assert served.answer() == ["HELLO!", "BIG!"]


def test_a_graph_is_svg_and_text_in_one_output_with_a_widget_that_finds_it_and_is_updated(served):
    ran = served.kernel.run("%dynamo graph Frontend", "drawing")
    (data,) = ran.shown
    assert data.keys() == {"image/svg+xml", "text/plain"}
    assert len(ran.widgets) == 1
    assert "ready" in data["image/svg+xml"]
    served.kernel.run("drawing = _")
    updates = served.run("link", "link(Backend)", "link(Other)").updates
    assert any("Backend" in update.get("states", {}) for update in updates)
    assert any(update.get("svg", data["image/svg+xml"]) != data["image/svg+xml"] for update in updates)


def test_a_serving_cell_that_runs_again_updates_its_deployment(served):
    before, name = served.pids(), served.value("deployment.id")
    ran = served.kernel.run(SERVE, "serve")
    assert (ran.ok, ran.text) == (True, f"{name} keeps running, unchanged\n")
    assert (served.pids(), served.value("deployment.id")) == (before, name)
    ran = served.kernel.run(SERVE.replace("http_port=0", "{'Backend.suffix': '?'}, http_port=0"), "serve")
    assert (ran.ok, ran.text) == (True, f'{name} keeps running, updated Backend (suffix "!" → "?")\n'), ran.error
    assert served.unchanged(before) == {"Middle", "Frontend"}
    assert served.answer() == ["hello?", "big?"]
    assert served.kernel.run(SERVE, "serve").ok


def test_a_serving_cell_with_other_options_replaces_its_deployment(served):
    name = served.value("deployment.id")
    assert served.kernel.run(SERVE.replace("http_port=0", "http_port=0, kernels=False"), "serve").ok
    assert served.value("deployment.id") != name
    assert name not in served.kernel.run("%dynamo ps").text
    assert served.answer() == ["hello!", "big!"]
    assert served.kernel.run(SERVE, "serve").ok


def test_another_cell_starts_another_deployment(served):
    name = served.value("deployment.id")
    assert served.kernel.run(f"other = {SERVE.partition('= ')[2]}", "another").ok
    assert served.value("other.id") != name
    assert served.kernel.run("await other.stop()").ok
    assert served.answer() == ["hello!", "big!"]


def test_a_deployment_shows_its_states(served):
    (data,) = served.kernel.run("deployment", "shown").shown
    assert data.keys() == {"image/svg+xml", "text/plain"}
    for name in ("Frontend", "Middle", "Backend"):
        assert any(line.split()[:3] == [name, "ready", "1/1"] for line in data["text/plain"].splitlines())


def test_verbs_use_the_deployment_of_the_notebook(served):
    run = served.kernel.run
    before = served.pids()
    assert "Backend ready 1/1" in run("%dynamo ps").text
    assert "Backend ready 2/2" in run("%dynamo scale Backend=2").text
    assert len(served.pids()["Backend"]) == 2
    assert run("unrelated = 1").text == "", "the scale is unchanged"
    assert len(served.pids()["Backend"]) == 2
    assert "Backend[0]: asked for hello big" in run("%dynamo logs Backend").text
    assert run("%dynamo export bundle/").ok
    assert "Backend" in run("print(open('bundle/graph.yaml').read())").text
    assert "Backend ready 1/1" in run("%dynamo scale Backend=1").text
    assert served.unchanged(before) >= {"Frontend", "Middle"}
    unknown = run("%dynamo scale Bakend=2")
    assert "did you mean 'Backend'?" in unknown.error


def test_a_notebook_serves_and_stops_with_verbs(served):
    run = served.kernel.run
    ran = run("second = %dynamo serve Other --port 0 --Other.ServiceArgs.workers=2")
    assert ran.ok, ran.error
    assert served.value("await second.Other.generate('x')") == ["other:x"]
    assert served.value("[len(s.workers) for s in second.status.services.values()]") == [2]
    several = run("%dynamo stop")
    assert "several deployments are running" in several.error
    assert run(f"%dynamo stop {served.value('second.id')}").ok
    assert served.value("second.ended") is True
    (shown,) = run("second").shown
    assert shown["text/plain"].splitlines()[0].endswith("(stopped)")
    stopped = run("await second.Other.generate('x')")
    assert "has stopped" in stopped.error
    assert served.answer() == ["hello!", "big!"]
