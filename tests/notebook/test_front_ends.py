"""Other front ends: a terminal, `jupyter console`, nbclient, VS Code; and other clients of a worker's kernel."""

import re
import shlex
import sys
from contextlib import contextmanager

import nbclient
import pexpect
import pytest
from jupyter_client.manager import start_new_kernel
from nbformat.v4 import new_code_cell, new_notebook

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")]

BOUND = 60
PROMPT = r"In \[\d+\]: "
BACKEND = """\
@service
class Backend:
    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return text + "-old"
"""
MODULE = "from dynamo_nb import dynamo_endpoint, service\n\n" + BACKEND
URI = "vscode-notebook-cell:/home/me/graph.ipynb#W0sZmlsZQ%3D%3D"


@contextmanager
def terminal(command, *words, folder):
    """Runs a program in a pseudo-terminal. Yields a function that runs a line there and returns the output."""
    child = pexpect.spawn(command, list(words), encoding="utf-8", timeout=BOUND, cwd=str(folder))
    child.setecho(False)
    child.expect(PROMPT)

    def run(line):
        child.sendline(line)
        child.expect(PROMPT)
        return child.before

    yield run
    child.sendeof()
    child.expect("really want to exit")
    child.sendline("y")
    child.expect(pexpect.EOF)
    child.close(force=True)


@contextmanager
def ipython(folder):
    with terminal(sys.executable, "-m", "IPython", "--simple-prompt", folder=folder) as run:
        yield run


@contextmanager
def jupyter_console(folder):
    """Attaches to a running kernel. If it started the kernel itself, it could miss the end of its first line."""
    manager, client = start_new_kernel(cwd=str(folder))
    client.stop_channels()
    words = ["-m", "jupyter_console", "--simple-prompt", "--existing", manager.connection_file]
    try:
        with terminal(sys.executable, *words, folder=folder) as run:
            yield run
    finally:
        manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def served(shared_kernel):
    kernel = shared_kernel.load()
    for cell in (BACKEND, "deployment = await serve(Backend, http_port=0)"):
        ran = kernel.run(cell)
        assert ran.ok, ran.error
    yield kernel
    assert kernel.run("await deployment.stop()").ok


@pytest.mark.parametrize("front_end", [ipython, jupyter_console])
def test_a_terminal_has_the_magics_serves_and_calls(front_end, tmp_path, dynamo_home, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    (tmp_path / "graph_of_mine.py").write_text(MODULE)
    with front_end(tmp_path) as run:
        run("import sys; sys.path.insert(0, '')")
        assert "rror" not in run("%load_ext dynamo_nb")
        run("from graph_of_mine import Backend; from dynamo_nb import serve")
        assert "Backend" in run("%dynamo graph Backend")
        assert "rror" not in run("deployment = await serve(Backend, http_port=0)")
        assert "a-old" in run("print(await deployment.Backend.say('a'))")
        assert "b-old" in run("print(deployment.Backend.say('b').result())")
        assert "Backend ready 1/1" in run("%dynamo ps")
        assert "Usage: %dynamo scale" in run("%dynamo scale?")
        run("await deployment.stop()")
        assert "nothing is being served" in run("%dynamo ps")


def test_nbclient_runs_a_whole_notebook(tmp_path, dynamo_home):
    cells = [
        "%load_ext dynamo_nb\nfrom dynamo_nb import dynamo_endpoint, serve, service",
        BACKEND,
        "%dynamo scale?",
        "%dynamo graph Backend",
        "deployment = await serve(Backend, http_port=0)",
        "print(await deployment.Backend.say('a'), *deployment.Backend.say('b'))",
        "%reload_ext dynamo_nb",
        BACKEND.replace("old", "new"),
        "print(await deployment.Backend.say('a'))",
        "await deployment.stop()",
    ]
    notebook = new_notebook(cells=[new_code_cell(text) for text in cells])
    nbclient.NotebookClient(notebook, timeout=BOUND, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = ["".join(o.get("text", "") for o in cell.outputs) for cell in notebook.cells]
    assert printed[2].startswith("Usage: %dynamo scale")
    assert (printed[5], printed[8]) == ("a-old b-old\n", "a-new\n")
    assert "image/svg+xml" in notebook.cells[3].outputs[0].data


def test_cells_are_identified_by_the_uris_of_vs_code(kernel):
    """https://github.com/microsoft/vscode-jupyter/pull/8881"""
    kernel.load()
    assert kernel.run(BACKEND, URI).ok
    assert kernel.run("deployment = await serve(Backend, http_port=0)", URI + "1").ok
    edited = kernel.run(BACKEND.replace("old", "new"), URI)
    assert edited.ok, edited.error
    assert kernel.run("print(await deployment.Backend.say('a'))", URI + "2").text == "a-new\n"
    shown = kernel.run("deployment", URI + "3").shown[0]
    assert {"text/plain", "image/svg+xml", "application/vnd.jupyter.widget-view+json"} <= set(shown)


def command_in(text):
    return shlex.split(re.search(r"in a terminal +(jupyter console .*)", text)[1])


def test_the_command_that_console_prints_attaches_a_terminal(served, tmp_path):
    ran = served.run("%dynamo console Backend[0]")
    assert ran.ok, ran.error
    jupyter, *words = command_in(ran.text)
    with terminal(f"{sys.prefix}/bin/{jupyter}", *words, "--simple-prompt", folder=tmp_path) as run:
        assert "Backend-ok" in run("print(type(self).__name__ + '-ok')")
    assert served.run("print(await deployment.Backend.say('a'))").text == "a-old\n"


def test_the_code_that_console_prints_attaches_a_program(served):
    lines = served.run("%dynamo console Backend").text.partition("in Python")[2].splitlines()[:3]
    space = {}
    exec("\n".join(line.strip() for line in lines), space)
    client = space["client"]
    client.wait_for_ready(timeout=BOUND)
    reply = client.execute("1", reply=True, timeout=BOUND, user_expressions={"name": "type(self).__name__"})
    client.stop_channels()
    assert reply["content"]["user_expressions"]["name"]["data"]["text/plain"] == "'Backend'"


def test_console_in_a_shell_attaches_the_terminal(served):
    dynamo = f"{sys.prefix}/bin/dynamo"
    printed = pexpect.run(f"{dynamo} console Backend[0]", encoding="utf-8", timeout=BOUND)
    assert command_in(printed) == command_in(served.run("%dynamo console Backend[0]").text)
    child = pexpect.spawn(dynamo, ["console", "Backend[0]", "--open"], encoding="utf-8", timeout=BOUND)
    child.expect(r"In .*\[")
    child.send("print(type(self).__name__ + '-ok')\r")
    child.expect("Backend-ok")
    child.close(force=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%dynamo console Backend[0] --open", "this is not a terminal"),
        ("%dynamo console Backend[5]", "no ready worker Backend[5]"),
        ("%dynamo console Backed", "did you mean 'Backend'?"),
        ("%dynamo console Backend[x]", "write Backend[0]"),
    ],
)
def test_a_worker_that_cannot_be_attached_is_an_error(served, line, message):
    assert message in served.run(line).error
