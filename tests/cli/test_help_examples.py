"""Every example in the help of `dynamo` runs as it is written."""

import os
import shlex
import signal
import sys
from pathlib import Path

import pexpect
import pytest
from example_program import examples, has_no_end, shortened, write_files

from dynamo_nb.cli.main import run
from dynamo_nb.cli.terminal_host import TerminalHost
from dynamo_nb.control.record import records

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")]

EXAMPLES = list(examples("dynamo", "hello.py:Frontend"))
ENDING = [line for line in EXAMPLES if line.startswith("stop")]
ENDLESS = [line for line in EXAMPLES if has_no_end(line)]
INTERACTIVE = [line for line in EXAMPLES if "--open" in line]
BOUND = 60


@pytest.fixture(scope="module")
def serve(module_project):
    """Starts a deployment of the files that the examples name, if none is running."""
    write_files(module_project.folder)
    started = []

    def start():
        if not list(records()):
            started.append(module_project.serve("hello.py:Frontend", kernels=True).result())
        return module_project.folder

    folder = start()
    started[0].export(folder / "bundle")
    yield start
    for deployment in started:
        if not deployment.ended:
            deployment.stop().result()


@pytest.fixture
def example(serve, monkeypatch):
    """Returns the words of an example, with the id of the deployment that runs."""
    monkeypatch.chdir(serve())
    return lambda line: [_as_running(word) for word in shlex.split(shortened(line))]


def _as_running(word):
    return next(iter(records())).id if word == "frontend-1a2b3c4d" else word


@pytest.mark.parametrize("line", [line for line in EXAMPLES if line not in {*ENDING, *ENDLESS, *INTERACTIVE}])
def test_an_example_runs(line, example, capsys):
    run(example(line), TerminalHost())
    assert capsys.readouterr().out or "-o" in line
    if line.startswith("scale"):
        run(["scale", "Backend=2", "Router=1"], TerminalHost())


@pytest.mark.parametrize("line", ENDLESS)
def test_an_example_without_an_end_shows_something_until_ctrl_c(line, example):
    child = _in_terminal(example(line))
    child.expect("the supervisor started" if line.startswith("events") else "Backend")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert "Traceback" not in child.before
    assert child.exitstatus in {0, 130}


@pytest.mark.parametrize("line", INTERACTIVE)
def test_an_example_of_a_console_opens_it(line, example):
    pytest.importorskip("jupyter_console")
    child = _in_terminal(example(line))
    child.expect(r"In \[")
    child.close(force=True)


@pytest.mark.parametrize("line", ENDING)
def test_an_example_that_ends_a_deployment_does(line, example, capsys):
    run(example(line), TerminalHost())
    assert "stopped frontend-" in capsys.readouterr().out
    assert list(records()) == []


def _in_terminal(words):
    program = str(Path(sys.executable).with_name("dynamo"))
    return pexpect.spawn(
        program, words, encoding="utf-8", timeout=BOUND, env=dict(os.environ), preexec_fn=_accept_interrupts
    )


def _accept_interrupts():
    """Restores the handler that a terminal has: a shell starts background jobs with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
