"""Cells in a shell: the magics, the record of cells that ran, and their outputs."""

import re

import IPython
import pytest
from cell_runners import LOAD, Shell

from dynamo_nb import notebook
from dynamo_nb.graph.graph import Graph
from dynamo_nb.sdk.definition import definition_of

HELPER = "def shape(word):\n    return word.lower()"
BACKEND = """\
@service(dynamo={"namespace": "hello"})
class Backend:
    def __init__(self, suffix: str = "-back"):
        self.suffix = suffix

    @dynamo_endpoint()
    async def generate(self, text: str) -> AsyncIterator[str]:
        yield shape(text) + self.suffix
"""
TWO = """\
@service
class Backend2:
    @dynamo_endpoint()
    async def generate(self, text: str) -> AsyncIterator[str]:
        yield text


@service
class Frontend:
    backend = depends(Backend)
    backend2 = depends(Backend2)
"""


@pytest.fixture
def graph(shell):
    """A notebook with Frontend, which depends on Backend and Backend2."""
    shell.load()
    for text in (HELPER, BACKEND, TWO):
        assert shell.run(text).ok
    return shell


def active(shell):
    space = shell.ip.user_ns
    return [edge.target for edge in Graph.of(space["Frontend"], space).edges if edge.active]


# --- service cells -----------------------------------------------------------------------------------------------


SPELLINGS = {"magic": "%%dynamo_service", "comment": "#| dynamo_service"}
spelled = pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)


def test_all_spellings_make_the_same_definition_and_modules(dynamo_home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plans = []
    for header in ("", *(f"{spelling}\n" for spelling in SPELLINGS.values())):
        shell = Shell().load()
        try:
            assert shell.run(HELPER).ok
            assert shell.run(header + BACKEND).ok
            plans.append(shell.plan("Backend"))
        finally:
            shell.close()
    plain, *others = plans
    origins = {"Backend.ServiceArgs.dynamo.namespace": "@service, cell 3, line 2"}  # the header counts as a line
    for other in others:
        assert other.code.modules == plain.code.modules
        assert other.code.digests == plain.code.digests
        assert other.spec == plain.spec.model_copy(update={"origins": plain.spec.origins | origins})


@spelled
def test_flags_are_configuration_with_an_origin(shell, spelling):
    shell.load()
    shell.run(HELPER)
    ran = shell.run(f"{spelling} --workers 3 --gpu 0.5 --cpu 500m --memory 1Gi --namespace other\n{BACKEND}")
    assert ran.ok, ran.error
    plan = shell.plan("Backend")
    spec = plan.spec.services["Backend"]
    assert (spec.workers, spec.gpu, spec.cpu, spec.memory, spec.namespace) == (3, 0.5, "500m", "1Gi", "other")
    assert plan.spec.origins["Backend.ServiceArgs.workers"] == f"{spelling}, cell 3"
    shell.run("%%dynamo_config\nBackend:\n  ServiceArgs: {workers: 2}")
    assert shell.plan("Backend").spec.services["Backend"].workers == 2, "YAML overrides flags"


@spelled
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--wrkers 2", "unrecognized arguments: --wrkers 2"),
        ("--workers two", "argument --workers: invalid int value: 'two'"),
        ("--namespace 'hello", "No closing quotation"),
    ],
)
def test_a_wrong_flag_defines_nothing(shell, spelling, flags, message):
    ran = shell.load().run(f"{spelling} {flags}\n{BACKEND}")
    assert not ran.ok
    assert ran.error.startswith(f"DefinitionError: {spelling}: {message}\n  hint: ")
    assert "Backend" not in shell.ip.user_ns


@spelled
def test_a_cell_that_is_being_typed_is_not_an_error(shell, spelling):
    assert shell.load().ip.check_complete(f"{spelling} --wor\nx = 1\n")[0] != "invalid"


@spelled
def test_a_service_cell_may_begin_with_a_future_import(shell, spelling):
    shell.load()
    shell.run(HELPER)
    ran = shell.run(f"{spelling} --workers 2\nfrom __future__ import annotations\n{BACKEND}")
    assert ran.ok, ran.error
    assert shell.plan("Backend").spec.services["Backend"].workers == 2


@spelled
def test_an_error_in_a_service_cell_has_the_traceback_of_the_cell(shell, spelling):
    shell.load()
    shell.run(HELPER)
    ran = shell.run(f"{spelling}\n{BACKEND}\n\n1 / 0")
    assert not ran.ok
    assert ran.error.count("Traceback") == 1
    assert "Cell In[3], line 12" in ran.error
    assert "--> 12 1 / 0" in ran.error
    assert "dynamo_nb/" not in ran.error


def test_await_in_a_service_cell_works(shell):
    shell.load()
    shell.run(HELPER)
    ran = shell.run(f'%%dynamo_service\n{BACKEND}\n\nawait Backend().generate("HI")')
    assert ran.ok, ran.error
    assert "['hi-back']" in ran.text


def test_inspect_finds_the_source_of_a_method(shell):
    shell.load()
    shell.run(HELPER)
    shell.run(f"%%dynamo_service\n{BACKEND}")
    ran = shell.run("import inspect; print(inspect.getsource(Backend.generate))")
    assert ran.text.strip().splitlines()[-1].strip() == "yield shape(text) + self.suffix"


@spelled
def test_a_service_cell_checks_that_workers_can_import_it(shell, spelling):
    ran = shell.load().run(f"{spelling}\n{BACKEND}")
    assert not ran.ok
    assert "Backend: 'shape' is defined nowhere  (cell 2, line 9)" in ran.error
    assert shell.run(BACKEND).ok, "an ordinary cell may run before its helpers"


def test_messages_name_cells_by_their_execution_count(shell):
    """It is the number that Jupyter shows next to the cell."""
    shell.load()
    shell.run("1 + 1")
    shell.run(HELPER)
    shell.run(BACKEND)
    assert definition_of(shell.ip.user_ns["Backend"]).where == "@service of Backend, cell 4, line 1"
    module = next(m for m in shell.plan("Backend").code.modules if m.name == "cells.Backend")
    assert re.findall(r"^# (cell \d+)$", module.text, re.MULTILINE) == ["cell 1", "cell 3", "cell 4"]


# --- the record of cells -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(IPython.version_info < (9,), reason="IPython 8 does not record which cells have failed")
def test_cells_before_the_extension_are_recorded(shell):
    header = LOAD.removeprefix("%load_ext dynamo_nb\n")
    shell.run(header)
    shell.run(HELPER)
    shell.run(BACKEND)
    assert not shell.run("shape = not_here()").ok
    shell.run("%load_ext dynamo_nb")
    module = next(m for m in shell.plan("Backend").code.modules if m.name == "cells.Backend")
    assert HELPER in module.text
    assert "not_here" not in module.text


def test_flags_in_the_cell_that_loads_the_extension_are_checked(shell):
    ran = shell.run(f"#| dynamo_service --wrkers 2\n{LOAD}\n{HELPER}\n\n{BACKEND}")
    assert not ran.ok
    assert "unrecognized arguments: --wrkers 2" in ran.error


def test_one_cell_loads_the_extension_defines_links_and_configures(shell):
    ran = shell.run(f"{LOAD}\n{HELPER}\n\n{BACKEND}\n{TWO}\nFrontend.link(Backend)\n%dynamo config Frontend", "first")
    assert ran.ok, ran.error
    assert "-back" in ran.shown[0]["text/plain"]
    assert active(shell) == ["Backend"]
    assert len(notebook.current().tracker.book) == 1
    assert shell.plan("Frontend").spec.started


def test_a_failed_cell_defines_everything_before_the_failed_line(shell):
    shell.load()
    assert not shell.run(f"{HELPER}\n\n{BACKEND}\nraise ValueError\nlater = 1").ok
    assert shell.plan("Backend").spec.started


# --- links -------------------------------------------------------------------------------------------------------


def test_running_a_link_again_adds_nothing_and_editing_it_replaces_the_link(graph):
    graph.run("Frontend.link(Backend)", "link")
    graph.run("Frontend.link(Backend)", "link")
    assert active(graph) == ["Backend"]
    graph.run("Frontend.link(Backend2)", "link")
    assert active(graph) == ["Backend2"]
    graph.run("Frontend.link(Backend)", "another")
    assert active(graph) == ["Backend", "Backend2"]
    graph.run("Frontend.unlink(Backend2)")
    assert active(graph) == ["Backend"]
    graph.run("# no link any more", "another")
    assert active(graph) == ["Backend", "Backend2"], "without a link, every dependency is active"


def test_links_stay_when_a_service_cell_runs_again(graph):
    graph.run("Frontend.link(Backend)")
    graph.run(TWO.replace("yield text", "yield text + text"))
    assert active(graph) == ["Backend"]


# --- configuration -----------------------------------------------------------------------------------------------


def test_configuration_cells_are_layers_with_origins(graph):
    assert graph.run("%%dynamo_config\nBackend:\n  suffix: one\n", "a").ok
    assert graph.run("%%dynamo_config\nBackend:\n  suffix: two\n", "b").ok
    origins = graph.plan("Frontend").spec.origins
    assert origins["Backend.suffix"] == "cell 6:3"
    assert graph.run("%%dynamo_config\nBackend:\n  ServiceArgs:\n    workers: 2\n", "b").ok
    plan = graph.plan("Frontend")
    assert plan.spec.config["Backend"]["suffix"] == "one", "running a cell again replaces its configuration"
    assert plan.spec.origins["Backend.suffix"] == "cell 5:3"
    assert plan.spec.origins["Backend.ServiceArgs.workers"] == "cell 7:4"
    (table,) = graph.run("%dynamo config Frontend --Backend.suffix=three").shown
    assert re.search(r'Backend\.suffix +"three" +--Backend\.suffix', table["text/plain"])
    assert "<td" in table["text/html"]


def test_invalid_yaml_is_an_error_with_its_line_and_changes_nothing(graph):
    graph.run("%%dynamo_config\nBackend:\n  suffix: one\n", "a")
    ran = graph.run("%%dynamo_config\nBackend:\n  suffix: 'one\n", "a")
    assert not ran.ok
    assert ran.error.startswith("ConfigError: not valid YAML at line ")
    assert "(cell 6:3)" in ran.error
    assert graph.plan("Frontend").spec.config["Backend"]["suffix"] == "one"


# --- drawings ----------------------------------------------------------------------------------------------------


def test_a_graph_is_drawn_as_svg_and_text_and_updated_by_cells(graph):
    ran = graph.run("%dynamo graph Frontend")
    assert ran.ok, ran.error
    (data,) = ran.shown
    assert data.keys() == {"image/svg+xml", "text/html", "text/plain"}
    assert "<svg" in data["image/svg+xml"]
    assert "Backend2" in data["text/plain"]
    assert not graph.run("elsewhere = 1").updates

    (linked,) = graph.run("Frontend.link(Backend)").updates
    assert linked["image/svg+xml"] != data["image/svg+xml"]
    incomplete = graph.run("class Backend2:\n    pass")
    assert (incomplete.ok, incomplete.updates) == (True, [])
    (grown,) = graph.run(
        TWO.replace("Frontend:", "Frontend:\n    third = depends('Third')") + BACKEND.replace("Backend", "Third")
    ).updates
    assert "Third" in grown["text/plain"]


def test_a_graph_object_is_drawn(graph):
    ran = graph.run("from dynamo_nb.graph import Graph\ndisplay(Graph.of(Frontend))")
    assert ran.ok, ran.error
    assert "<svg" in ran.shown[0]["image/svg+xml"]


# --- the magics ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fly", "dynamo has no verb 'fly'"),
        ("serve", "Missing argument"),
        ("serve Fronten", "this notebook has no service 'Fronten'\n  hint: did you mean 'Frontend'?"),
        ("serve Frontend --prt 1", "No such option"),
        ("graph Frontend --format png", "png"),
        ("graph 'Frontend", "No closing quotation"),
        ("graph", "the target is missing\n  hint: %dynamo graph Frontend"),
        ("scale Backend=many", "'Backend=many' does not say how many workers\n  hint: Backend=4 means four workers"),
        ("scale Backend=2", "nothing is being served"),
        ("export bundle/", "nothing is being served here\n  hint: %dynamo export Service folder/"),
        ("stop", "nothing is being served\n  hint: serve a graph first"),
        ("detach nope", "deployment 'nope' not found: nothing is served\n  hint: serve a graph first"),
        ("logs Backend", "nothing is being served"),
        ("config Frontend --Bakend.suffix=1", "did you mean 'Backend'"),
        ("config Frontend -f missing.yaml", "missing.yaml"),
    ],
)
def test_an_invalid_line_is_a_short_error(graph, line, message):
    ran = graph.run(f"%dynamo {line}")
    assert not ran.ok
    assert message in ran.error
    assert "Traceback" not in ran.error
    assert len(ran.error.splitlines()) < 8


def test_the_command_and_the_magics_have_help(graph):
    for line in ("%dynamo", "%dynamo --help"):
        ran = graph.run(line)
        assert ran.ok, ran.error
        assert "Commands:" in ran.text
        assert not ran.shown
    assert "--workers N" in graph.run("%%dynamo_service?").text
    assert "%dynamo scale" in graph.run("%dynamo?").text or "scale Backend=4" in graph.run("%dynamo?").text
    assert "YAML" in graph.run("%%dynamo_config?").text
    assert graph.run("%dynamo ps").text.strip() == "nothing is being served"


def test_reloading_and_unloading_leave_no_hooks(graph):
    shell = graph.ip
    graph.run("Frontend.link(Backend)", "link")
    events = {name: list(found) for name, found in shell.events.callbacks.items()}
    transformers = list(shell.input_transformers_cleanup)
    assert graph.run("%reload_ext dynamo_nb").ok
    assert {n: len(f) for n, f in shell.events.callbacks.items()} == {n: len(f) for n, f in events.items()}
    assert len(shell.input_transformers_cleanup) == len(transformers)
    assert graph.plan("Frontend").spec.started.keys() == {"Frontend", "Backend"}
    graph.run("Frontend.link(Backend2)", "link")
    assert active(graph) == ["Backend2"]

    assert graph.run("%unload_ext dynamo_nb").ok
    assert notebook.current() is None
    assert not any(n.startswith("dynamo") for kind in ("line", "cell") for n in shell.magics_manager.magics[kind])
    assert not any("dynamo_nb" in f.__module__ for found in shell.events.callbacks.values() for f in found)
    assert graph.run("1 + 1").ok
