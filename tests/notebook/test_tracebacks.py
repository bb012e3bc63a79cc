"""Tracebacks of workers name cells: in the notebook, in the log, and for a saved notebook."""

import re
from pathlib import Path

import pytest
from test_saved import save

from dynamo_nb.control.log_lines import without_stamp
from dynamo_nb.errors import EndpointError, StartError, TargetError
from dynamo_nb.program import find
from dynamo_nb.source import Cell, slice_services
from dynamo_nb.source.source_map import write_source_maps
from dynamo_nb.source.tracebacks import with_cell_names

IMPORTS = "import logging\nimport threading\nfrom dynamo_nb import dynamo_endpoint, serve, service"
HELPER = '# what fails\n\n\ndef fail(text):\n    """Always."""\n    raise ValueError(text)'
BACKEND = """\
@service
class Backend:
    @dynamo_endpoint()
    async def answer(self, text: str) -> str:
        return fail(text)

    @dynamo_endpoint()
    async def logged(self, text: str) -> str:
        try:
            fail(text)
        except ValueError:
            logging.exception("it went wrong")
        thread = threading.Thread(target=fail, args=(text,), name="beside")
        thread.start()
        thread.join()
        return text
"""
LINES = ['cell {} "Backend", line 6, in answer', 'cell {} "fail", line 6, in fail']
LOGGED = ['cell {} "Backend", line 11, in logged', 'cell {} "fail", line 6, in fail', 'cell {} "fail", line 6, in fail']


def frames(text):
    lines = (line.removeprefix("Backend[0]:").strip() for line in text.splitlines())
    return [line for line in lines if re.search(r'", line \d+, in (answer|logged|fail)$', line)]


def frames_of(lines, backend, helper):
    return [line.format(backend if "Backend" in line else helper) for line in lines]


def without_stamps(log):
    return "\n".join(map(without_stamp, log.splitlines()))


def test_an_endpoint_error_and_the_log_name_the_cells_of_a_live_notebook(kernel):
    kernel.load()
    for text in (IMPORTS, HELPER, f"#| dynamo_service --workers 1\n{BACKEND}"):
        assert kernel.run(text).ok
    ran = kernel.run("deployment = await serve(Backend, http_port=0)")
    assert ran.ok, ran.error

    raised = kernel.run("await deployment.Backend.answer('no')")

    assert frames(raised.error) == frames_of(LINES, 4, 3)
    assert "    raise ValueError(text)" in raised.error.splitlines(), "the line itself is shown"
    assert kernel.run("await deployment.Backend.logged('no')").ok
    assert frames(
        without_stamps(kernel.run("print(open(deployment.status.services['Backend'].workers[0].log).read())").text)
    ) == (frames_of(LOGGED, 4, 3))


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def saved(*cells):
        save(tmp_path / "graph.ipynb", [IMPORTS, "", *cells])
        return "graph.ipynb"

    return saved


def test_a_saved_notebook_has_the_cell_numbers_of_a_run_from_top_to_bottom(notebook, project):
    target = notebook(HELPER, f"#| dynamo_service\n{BACKEND}")
    with project.serve(target).result() as deployment:
        with pytest.raises(EndpointError) as raised:
            deployment.Backend.answer("no").result()
        deployment.Backend.logged("no").result()
        assert frames(str(raised.value)) == frames_of(LINES, 3, 2)
        assert frames(deployment.logs("Backend")) == frames_of(LOGGED, 3, 2)


def test_a_start_error_names_the_line_of_the_cell(notebook, project):
    target = notebook("\n\n@service\nclass Backend:\n    def __init__(self):\n        raise OSError('no weights')")
    with pytest.raises(StartError, match=r'\n  cell 2 "Backend", line 6, in __init__\n'):
        project.serve(target).result()


def test_an_error_while_a_saved_notebook_is_read_names_its_cell(notebook):
    target = notebook(f"{HELPER}\n\nWORD = fail('no')", BACKEND.replace("text)", "WORD)"))
    with pytest.raises(TargetError) as raised:
        find(target)
    assert str(raised.value).splitlines()[:2] == [
        "Backend cannot be imported: ValueError: no",
        '  where: cell 2 "fail", line 6: raise ValueError(text)',
    ]


def test_a_bundle_has_the_code_that_workers_import(notebook, project, tmp_path):
    with project.serve(notebook(HELPER, BACKEND)).result() as deployment:
        (imported,) = [path for path in (deployment.folder / "code").iterdir() if path.is_dir()]
        deployment.export(tmp_path / "bundle")

        def files(folder):
            return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.py")}

        assert files(tmp_path / "bundle" / "code") == files(imported)
        assert not list((tmp_path / "bundle").rglob("*.json"))


def test_a_stack_dump_of_python_names_cells_too(tmp_path):
    tree = slice_services([Cell(f"{IMPORTS}\n\n{HELPER}\n\n{BACKEND}", "cell 1")], ["Backend"])
    folder = tmp_path / "code" / "0123456789abcdef"
    folder.parent.mkdir(parents=True)
    write_source_maps(tree.source_maps, folder)
    lines = next(module.text for module in tree.modules if module.name == "cells.Backend").splitlines()
    line = lines.index("        return fail(text)") + 1

    shown = with_cell_names(f'  File "{folder}/cells/Backend.py", line {line} in answer')

    assert shown == '  cell 1 "Backend", line 16 in answer'
    unknown = f'  File "{folder}/cells/Backend.py", line 1 in <module>\n  File "{Path(__file__)}", line 3 in x'
    assert with_cell_names(unknown) == unknown
