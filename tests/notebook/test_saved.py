"""Saved notebooks: as targets, run by papermill, and as pages without a kernel."""

import re
from pathlib import Path

import nbformat
import papermill
import pytest
from executed_notebooks import NOTEBOOKS, WITH_VLLM, drawings_in, outputs_of, run_and_make_a_page
from nbformat.v4 import new_code_cell, new_notebook

from dynamo_nb.deployment.plan import Plan
from dynamo_nb.errors import DefinitionError, TargetError
from dynamo_nb.program import find
from dynamo_nb.source.headers import CONFIG

SAVED = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
CELLS = [
    "%load_ext dynamo_nb\nfrom dynamo_nb import depends, dynamo_endpoint, serve, service",
    "from pathlib import Path\nPath('ran.txt').write_text('a cell that no service needs')",
    "def shape(word):\n    return word.lower()",
    """\
%%dynamo_service --workers 2
@service
class Backend:
    def __init__(self, suffix="-back"):
        self.suffix = suffix

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return shape(text) + self.suffix""",
    "raise RuntimeError('a cell that fails')",
    """\
import a_module_that_is_not_installed

@service
class Heavy:
    model = a_module_that_is_not_installed.Model()

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return self.model(text)""",
    """\
@service
class Frontend:
    backend = depends(Backend)
    heavy = depends(Heavy)

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return await self.backend.generate(text)""",
    "Frontend.link(Backend)",
    f"{CONFIG}\nBackend:\n  suffix: '!'",
    "deployment = await serve(Frontend, http_port=0)\nprint(await deployment.Frontend.generate('HI'))",
    "await deployment.stop()",
]

NAMED = '@service(dynamo={"name": "bee"})'

FLAGGED = f"%%dynamo_service --workers 3\n{NAMED}"


def save(path, cells):
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(new_notebook(cells=[new_code_cell(text) for text in cells], metadata={"kernelspec": kernel}), path)
    return path


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return save(tmp_path / "graph.ipynb", CELLS)


def test_only_the_code_that_the_graph_needs_runs(notebook):
    program = find("graph.ipynb:Frontend")
    plan = Plan.of(program, program.layers)
    assert set(plan.spec.started) == {"Frontend", "Backend"}
    assert [(e.target, e.active) for e in plan.spec.edges] == [("Backend", True), ("Heavy", False)]
    assert plan.spec.services["Backend"].workers == 2
    assert plan.spec.origins["Backend.ServiceArgs.workers"] == "%%dynamo_service, cell 4"
    assert plan.spec.config["Backend"]["suffix"] == "!"
    assert plan.spec.origins["Backend.suffix"] == "cell 9:3"
    assert not Path("ran.txt").exists()


def test_the_first_line_of_a_service_cell_may_be_a_comment(notebook):
    cells = [text.replace("%%dynamo_service", "#| dynamo_service") for text in CELLS]
    program, spelled = find("graph.ipynb:Frontend"), find(f"{save('comment.ipynb', cells)}:Frontend")
    plan = Plan.of(spelled, spelled.layers)
    assert plan.spec.services["Backend"].workers == 2
    assert plan.spec.origins["Backend.ServiceArgs.workers"] == "#| dynamo_service, cell 4"
    assert plan.code == program.code()


def test_the_entry_may_be_left_out_if_it_is_clear(notebook):
    assert find("graph.ipynb").graph.entry == "Frontend"


def service_cell(name, *dependencies, decorator="@service"):
    lines = [f"    d{i} = depends({on})" for i, on in enumerate(dependencies)] or ["    pass"]
    return "\n".join([decorator, f"class {name}:", *lines])


def test_dependencies_by_name_work_as_in_a_live_notebook(notebook):
    cells = [CELLS[0], service_cell("A", "'bee'"), service_cell("B", "'C'", decorator=NAMED), service_cell("C", "'A'")]
    program = find(f"{save('round.ipynb', cells)}:A")
    assert list(Plan.of(program, ()).spec.started) == ["C", "bee", "A"]


def test_the_imports_of_an_unlinked_dependency_by_name_need_not_be_installed(notebook):
    cells = [*CELLS[:6], CELLS[6].replace("depends(Heavy)", 'depends("Heavy")'), CELLS[7]]
    program = find(f"{save('by_name.ipynb', cells)}:Frontend")
    assert set(Plan.of(program, ()).spec.started) == {"Frontend", "Backend"}
    assert [(e.target, e.active) for e in program.graph.edges] == [("Backend", True), ("Heavy", False)]


def test_a_service_with_another_name_than_its_class_is_linked_and_configured(notebook):
    services = [service_cell("C"), service_cell("D"), service_cell("B", "C", "D", decorator=FLAGGED)]
    program = find(str(save("named.ipynb", [CELLS[0], *services, service_cell("A", "B"), "B.link(C)"])))
    assert (program.graph.entry, set(program.graph.running)) == ("A", {"A", "bee", "C"})
    assert Plan.of(program, program.layers).spec.services["bee"].workers == 3


def test_a_dependency_on_an_unknown_name_is_an_error_with_the_cell_and_a_suggestion(notebook):
    save("typo.ipynb", [CELLS[0], service_cell("A", "'Backnd'"), service_cell("Backend")])
    with pytest.raises(
        DefinitionError, match=r"A depends on 'Backnd', and no service has that name\n.*, cell 2\n.*mean 'Backend'"
    ):
        find("typo.ipynb:A")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("graph.ipynb:Fronted", "graph.ipynb has no service 'Fronted'\n.*\n  hint: did you mean 'Frontend'?"),
        ("missing.ipynb:Frontend", "cannot be read"),
        ("empty.ipynb", "empty.ipynb defines no service"),
        ("broken.ipynb", "not a Jupyter notebook of format 4"),
        ("two.ipynb", "several services can be the entry: A, B\n.*\n  hint: name one: two.ipynb:A"),
        ("round.ipynb", "no service can be the entry\n.*\n  hint: name one: round.ipynb:A"),
    ],
)
def test_an_invalid_target_is_an_error_with_a_remedy(notebook, target, message):
    save("empty.ipynb", CELLS[:2])
    save("two.ipynb", ["@service\nclass A: pass", "@service\nclass B: pass"])
    save("round.ipynb", [CELLS[0], service_cell("A", "'B'"), service_cell("B", "'A'")])
    Path("broken.ipynb").write_text("{}")
    with pytest.raises(TargetError, match=message):
        find(target)


@pytest.mark.slow
def test_papermill_stops_at_a_service_cell_that_workers_cannot_import(notebook, dynamo_home):
    cells = [CELLS[0], CELLS[3], "open('later.txt', 'w').close()"]
    with pytest.raises(papermill.PapermillExecutionError, match="Backend: 'shape' is defined nowhere") as raised:
        papermill.execute_notebook(save("bad.ipynb", cells), "out.ipynb", progress_bar=False)
    assert raised.value.exec_count == 2
    assert not Path("later.txt").exists()


@pytest.mark.slow
def test_papermill_stops_at_an_edit_that_does_not_start(notebook, dynamo_home):
    plain = CELLS[3].partition("\n")[2]
    cells = [
        *(CELLS[0], CELLS[2], plain, "deployment = await serve(Backend, http_port=0)"),
        plain.replace("self.suffix = suffix", "raise OSError('no weights here')"),
        "open('later.txt', 'w').close()",
    ]
    with pytest.raises(papermill.PapermillExecutionError, match=r"raise OSError\('no weights here'\)") as raised:
        papermill.execute_notebook(save("bad.ipynb", cells), "out.ipynb", progress_bar=False)
    assert raised.value.exec_count == 5
    assert not Path("later.txt").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [name for name in SAVED if name not in WITH_VLLM])
def test_a_notebook_of_this_repository_runs_and_is_a_page_without_a_kernel(name, tmp_path, monkeypatch, dynamo_home):
    monkeypatch.chdir(tmp_path)
    run_and_make_a_page(name)


@pytest.mark.parametrize("name", SAVED)
def test_a_notebook_of_this_repository_is_saved_with_what_its_cells_show(name):
    saved = nbformat.read(NOTEBOOKS / name, as_version=4)
    nbformat.validate(saved)
    ran = [cell.execution_count for cell in saved.cells if cell.cell_type == "code"]
    assert ran == list(range(1, len(ran) + 1))
    assert not [o for o in outputs_of(saved) if o.output_type == "error" or o.get("name") == "stderr"]
    assert drawings_in(saved)
    assert not [drawing for drawing in drawings_in(saved) if 'data-state="stopped"' in drawing]
    assert not re.findall(r"/(?:tmp|home|root|work|Users)/[^\s\"]*", nbformat.writes(saved))
    assert not any("papermill" in cell.metadata or "execution" in cell.metadata for cell in saved.cells)


@pytest.mark.slow
def test_the_page_shows_the_running_graph_after_it_was_stopped(notebook, dynamo_home):
    plain = CELLS[3].partition("\n")[2]
    cells = [CELLS[0], CELLS[2], plain, "deployment = await serve(Backend, http_port=0)\ndeployment", "%dynamo stop"]
    done = papermill.execute_notebook(save("stop.ipynb", cells), "out.ipynb", progress_bar=False)
    (drawing,) = drawings_in(done)
    assert "Backend is ready" in drawing


@pytest.mark.slow
def test_the_page_has_the_result_of_a_benchmark_that_a_later_cell_stopped(notebook, dynamo_home):
    plain = CELLS[3].partition("\n")[2]
    cells = [
        *(CELLS[0], CELLS[2], plain, "deployment = await serve(Backend, http_port=0)"),
        "load = %dynamo bench backend.generate --payload '\"HI\"' --duration 1000 --background",
        "for _ in range(8): await deployment.Backend.generate('HI')",
        "calls = load.stop().calls",
        "%dynamo stop",
    ]
    done = papermill.execute_notebook(save("load.ipynb", cells), "out.ipynb", progress_bar=False)
    (result,) = drawings_in(done)
    assert "Backend.generate" in result
