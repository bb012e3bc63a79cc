"""Notebooks run as tests, each in a process of its own."""

import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from notebook_files import SERVICE, texts_of, write_notebook

from dynamo_nb.regress.case import find_cases
from dynamo_nb.regress.gpu_slots import gpu_slots
from dynamo_nb.regress.runner import Runner, TestOptions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

DYNAMO = str(Path(sys.executable).with_name("dynamo"))

SERVED = "served = await serve(B)"
NOTEBOOKS = {
    "passes": (["x = 1", "assert x == 1"], [], "passed"),
    "serves": ([SERVICE, SERVED, "assert await served.B.divide(2) == 5"], [], "passed"),
    "raises": (["x = 1", "1 / 0", "y = x"], ["cell 2, '1 / 0': ZeroDivisionError", "not run: cell 3"], "failed"),
    "expects": (
        ["from dynamo_nb.regress import expect", "expect(1) == 2\nexpect(2) == 3", "x = 1"],
        ["1: expected == 2", "2: expected == 3", "not run: cell 3"],
        "failed",
    ),
    "a worker raises": (
        [SERVICE, SERVED, "await served.B.divide(0)"],
        ["cell 3", "ZeroDivisionError"],
        "failed",
    ),
    "a worker crashes": (
        [SERVICE.replace("return", "__import__('os')._exit(3)\n        return"), SERVED, "await served.B.divide(1)"],
        ["cell 3", "WorkerLost"],
        "failed",
    ),
    "a magic fails": (["%load_ext dynamo_nb", "%dynamo bogus"], ["cell 2, '%dynamo bogus'"], "failed"),
    "endless": (["while True: pass", "x = 1"], ["cell 1", "ran longer than 3 s", "not run: cell 2"], "failed"),
    "endless and deaf": (
        ["import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass", "x = 1"],
        ["cell 1", "ran longer than 3 s, and did not end when it was interrupted", "not run: cell 2"],
        "failed",
    ),
    "catches the interrupt": (
        ["try:\n    while True: pass\nexcept KeyboardInterrupt: pass", "x = 1"],
        ["cell 1", "ran longer than 3 s", "not run: cell 2"],
        "failed",
    ),
    "its kernel dies": (
        ["import os, signal", "os.kill(os.getpid(), signal.SIGKILL)", "x = 1"],
        ["cell 2", "the kernel died: killed by signal 9", "not run: cell 3"],
        "failed",
    ),
    "its kernel exits": (
        ["import os", "os._exit(0)", "x = 1"],
        ["cell 2", "the kernel died: exit status 0", "not run: cell 3"],
        "failed",
    ),
    "exits": (["import sys", "sys.exit(0)", "x = 1"], ["cell 2", "it called sys.exit(0)", "not run: cell 3"], "failed"),
    "leaves a deployment": (
        [SERVICE, SERVED, "%dynamo detach"],
        ["not ended by the notebook: deployment B was still running"],
        "failed",
    ),
    "leaves a process": (
        ["import subprocess", "subprocess.Popen(['sleep', '98765'], start_new_session=True) and None"],
        ["not ended by the notebook: process", "sleep 98765"],
        "failed",
    ),
    "a syntax error": (["x = = 1"], ["cell 1", "SyntaxError"], "failed"),
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    for name, (cells, _, _) in NOTEBOOKS.items():
        write_notebook(folder / f"{name}.ipynb", *cells)
    options = TestOptions(jobs=3, cell_timeout=3, report=folder / "out")
    limits = TestOptions(jobs=3, cell_timeout=60, report=folder / "out")
    found = {}
    for chosen, names in (
        (options, [name for name in NOTEBOOKS if "endless" in name or "catches" in name]),
        (limits, [name for name in NOTEBOOKS if "endless" not in name and "catches" not in name]),
    ):
        cases = find_cases([folder / f"{name}.ipynb" for name in names], {})
        found |= {result.case.notebook.stem: result for result in Runner(chosen).run(cases).cases}
    return found


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_ends_with_the_right_outcome_names_the_cell_and_leaves_nothing(results, name):
    cells, shown, outcome = NOTEBOOKS[name]
    result = results[name]
    assert result.outcome == outcome, str(result)
    assert all(part in str(result) for part in shown), str(result)
    assert len(result.cells) == len(cells)
    assert len(nbformat.read(result.output, 4).cells) >= len(cells)  # the partial notebook
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "98765"]]


def test_the_failing_cell_shows_the_last_lines_of_its_workers(results):
    path = results["a worker raises"].output
    cells = [n for n, cell in enumerate(nbformat.read(path, 4).cells) if "divide(0)" in cell.source]
    assert "the last lines of B[0]:\ndividing by 0" in texts_of(path, cells[0])


def test_cells_that_do_not_need_a_failed_one_run_when_asked(tmp_path):
    cells = ["x = 1", "y = 1 / 0", "z = y + 1", "w = x + 1", "assert w == 2", "print(z)", "y = 5", "assert y == 5"]
    write_notebook(tmp_path / "n.ipynb", *cells)
    options = TestOptions(keep_going=True, report=tmp_path / "out")
    (result,) = Runner(options).run(find_cases([tmp_path / "n.ipynb"], {})).cases
    assert [cell.outcome for cell in result.cells] == [
        "passed", "failed", "not run", "passed", "passed", "not run", "passed", "passed",
    ]  # fmt: skip
    assert result.cells[2].what == "not run because of cell 2"
    assert not result.passed


def test_each_cell_has_its_memory_and_time(tmp_path):
    write_notebook(tmp_path / "n.ipynb", "x = 1", "import time\nblock = bytearray(200 << 20)\ntime.sleep(1)")
    (result,) = Runner(TestOptions(report=tmp_path / "out")).run(find_cases([tmp_path / "n.ipynb"], {})).cases
    small, large = result.cells
    assert large.memory - small.memory > 150 << 20
    assert large.seconds >= 1 > small.seconds


def run(folder, *words):
    command = [DYNAMO, "test", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path):
    write_notebook(
        tmp_path / "n.ipynb",
        "size = 1",
        "from dynamo_nb.regress import expect\nexpect.number('n', size, by_machine=False).within(0.1).of_baseline()",
        parameters=True,
    )
    return tmp_path


def test_baselines_are_created_fixed_and_trimmed_when_asked(folder):
    baseline = folder / "n.baseline.yaml"
    assert (run(folder, "n.ipynb").returncode, baseline.exists()) == (1, False)
    assert run(folder, "n.ipynb", "--update", "create").returncode == 0
    assert run(folder, "n.ipynb").returncode == 0
    assert run(folder, "n.ipynb", "-p", "size=2", "--update", "create").returncode == 0
    assert "parameters:\n    size: 2\n  value: 2" in baseline.read_text()

    baseline.write_text("n: [{value: 5}]\nold: [{value: 1}]\n")
    fixed = run(folder, "n.ipynb", "--update", "fix")
    assert fixed.returncode == 0
    assert "5 → 1 (written)" in fixed.stdout
    trimmed = run(folder, "n.ipynb", "--update", "trim")
    assert "not used any more: 1 (written)" in trimmed.stdout
    assert "old" not in baseline.read_text()


USAGE = {
    "no such file": (["x.ipynb"], 4, "no such notebook or folder"),
    "no notebook": (["n.txt"], 4, "this file is not a notebook"),
    "broken notebook": (["broken.ipynb"], 4, "not a Jupyter notebook"),
    "unknown parameter": (["n.ipynb", "-p", "siz=1"], 4, "did you mean 'size'?"),
    "no value": (["n.ipynb", "-p", "size"], 4, "write -p name=value"),
    "broken value": (["n.ipynb", "-p", "size=["], 4, "is not YAML"),
    "no matrix": (["n.ipynb", "--matrix", "x.yaml"], 4, "the matrix cannot be read"),
    "broken matrix": (["n.ipynb", "--matrix", "n.txt"], 4, "maps names of parameters to lists"),
    "unknown category": (["n.ipynb", "--update", "creat"], 4, "'creat' is not a category of changes"),
    "nothing": (["empty"], 5, "no notebook was found"),
    "no kernel": (["kernel.ipynb"], 1, "no_such_kernel"),
    "a broken baseline": (["n.ipynb"], 1, "the baseline file is not YAML"),
}  # fmt: skip


@pytest.mark.parametrize("name", USAGE)
def test_a_mistake_has_its_exit_code_and_leaves_baselines_alone(folder, name):
    words, code, message = USAGE[name]
    (folder / "empty").mkdir()
    (folder / "n.txt").write_text("hello")
    (folder / "broken.ipynb").write_text("{}")
    write_notebook(folder / "kernel.ipynb", "x = 1")
    other = nbformat.read(folder / "kernel.ipynb", 4)
    other.metadata.kernelspec.name = "no_such_kernel"
    nbformat.write(other, folder / "kernel.ipynb")
    baseline = folder / "n.baseline.yaml"
    baseline.write_text(text := "n: [" if name == "a broken baseline" else "n: [{value: 1}]\n")
    done = run(folder, *words, *([] if name == "unknown category" else ["--update", "create,fix,update,trim"]))
    assert (done.returncode, message in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
    assert baseline.read_text() == text


def test_an_interrupt_ends_the_run_and_keeps_what_ran(tmp_path):
    ready = tmp_path / "ready"
    cell = f"print('before')\nopen({str(ready)!r}, 'w').close()\nimport time\ntime.sleep(1000)"
    write_notebook(tmp_path / "n.ipynb", SERVICE, SERVED, cell, "x = 1")
    command = [DYNAMO, "test", "n.ipynb", "--report", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    out = tmp_path / "out" / "n.ipynb"
    while not ready.exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=200)
    assert process.returncode == 2
    assert "interrupted" in text
    assert len(nbformat.read(out, 4).cells) == 4
    assert texts_of(out, 2).strip() == "before"


def test_gpus_are_divided_among_the_notebooks_that_run_at_the_same_time(monkeypatch):
    monkeypatch.delenv("DYNAMO_GPUS", raising=False)
    assert gpu_slots(2, []) == [{}, {}]
    assert gpu_slots(2, ["0", "1", "2"]) == [{"CUDA_VISIBLE_DEVICES": "0,2"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    assert gpu_slots(4, ["0", "1"]) == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    monkeypatch.setenv("DYNAMO_GPUS", "0,1")
    assert gpu_slots(1, ["0", "1"]) == [{"CUDA_VISIBLE_DEVICES": "0,1", "DYNAMO_GPUS": "0,1"}]


def test_plain_papermill_runs_with_the_engine(tmp_path):
    write_notebook(tmp_path / "n.ipynb", SERVICE, SERVED, "await served.B.divide(0)")
    command = [sys.executable, "-m", "papermill", "--engine", "dynamo", "n.ipynb", "out.ipynb"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    cell = next(n for n, c in enumerate(nbformat.read(tmp_path / "out.ipynb", 4).cells) if "divide(0)" in c.source)
    assert "the last lines of B[0]" in texts_of(tmp_path / "out.ipynb", cell)
