"""Every example in the help of `%dynamo` runs as it is written, in a kernel."""

import re
import sys
from pathlib import Path

import pytest

from dynamo_nb.notebook.magics import DynamoMagics

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from example_program import PROGRAM, examples, shortened, write_files

pytestmark = pytest.mark.slow

_LINE = re.compile(r"^ +(%dynamo \w.*?)(?=   |$)", re.MULTILINE)
MAGIC = [line.removeprefix("%dynamo ") for line in _LINE.findall(DynamoMagics.dynamo.__doc__)]
EXAMPLES = list(dict.fromkeys([*MAGIC, *examples("%dynamo", "Frontend")]))
# Another program shows the terminal: it is tried there.
EXAMPLES = [line for line in EXAMPLES if "--open" not in line]
ENDING = [line for line in EXAMPLES if line.startswith("stop")]


@pytest.fixture(scope="module")
def served(shared_kernel, tmp_path_factory):
    """Runs cells in a kernel in which the graph of the examples is served."""
    shared_kernel.load()
    _succeeds(shared_kernel, PROGRAM)
    _serve(shared_kernel)
    write_files(Path(shared_kernel.run("print(os.getcwd())").text.strip()))
    _succeeds(shared_kernel, "%dynamo export bundle/")
    return shared_kernel


@pytest.mark.parametrize("line", [line for line in EXAMPLES if line not in ENDING])
def test_an_example_runs(served, line):
    command = _written_for(served, line)
    ran = served.run(command)
    assert ran.ok, ran.error
    assert ran.text or ran.shown or ran.updates or "-o" in line
    if line.startswith("scale"):
        _succeeds(served, "%dynamo scale Backend=2 Router=1")


@pytest.mark.parametrize("line", ENDING)
def test_an_example_that_ends_a_deployment_does(served, line):
    if not served.run("print(deployment.ended)").text.startswith("False"):
        _serve(served)
    ran = served.run(_written_for(served, line))
    assert ran.ok, ran.error
    assert "stopped frontend-" in ran.text
    assert served.run("print(deployment.ended)").text == "True\n"


def _serve(kernel):
    _succeeds(kernel, "deployment = await serve(Frontend, http_port=0)")


def _written_for(kernel, line):
    """The example as a cell, with the id of the deployment and a short load; a deployment is planned only."""
    id_ = kernel.run("print(deployment.id)").text.strip()
    return f"%dynamo {shortened(line).replace('frontend-1a2b3c4d', id_)}"


def _succeeds(kernel, code):
    ran = kernel.run(code)
    assert ran.ok, ran.error
