"""Completion in bash: the words that the installed function offers for a command line."""

import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

DYNAMO = f"{sys.prefix}/bin/dynamo"
SERVICES = """\
from dynamo_nb import depends, dynamo_endpoint, service

raise_if_this_runs = open("ran", "w")

@service
class Backend:
    def __init__(self, suffix="!", max_words=4):
        self.suffix = suffix

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return text

@service
class Frontend:
    backend = depends(Backend)
"""


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    """Returns a function: the words that bash offers after a command line, in a folder with services in three files."""
    folder = tmp_path_factory.mktemp("shell")
    nbformat.write(
        new_notebook(cells=[new_code_cell("%load_ext dynamo_nb"), new_code_cell(SERVICES)]), folder / "rag.ipynb"
    )
    (folder / "graph.py").write_text(SERVICES)
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = subprocess.run(
        [DYNAMO, "--show-completion", "bash"], env=environment, capture_output=True, text=True, check=True
    )

    def offered(line):
        # bash makes words of `:` and `=` too.
        words = [word for word in re.split(r"([:=])| ", line) if word]
        words += [""] if line.endswith((" ", ":", "=")) else []
        listed = " ".join(f"'{word}'" for word in words)
        program = f"{script.stdout}\nCOMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}\n_dynamo_completion {DYNAMO}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
        done = subprocess.run(["bash", "-c", program], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.split()

    yield offered
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("dynamo ser", ["serve"]),
        ("dynamo serve ra", ["rag.ipynb"]),
        ("dynamo serve rag.ipynb", ["rag.ipynb:Backend", "rag.ipynb:Frontend"]),
        ("dynamo serve rag.ipynb:Fr", ["Frontend"]),
        ("dynamo serve graph.py:Fr", ["Frontend"]),
        ("dynamo serve graph:", ["Backend", "Frontend"]),
        ("dynamo serve rag.ipynb:Frontend --Ba", ["--Backend."]),
        ("dynamo serve rag.ipynb:Frontend --Backend.max", ["--Backend.max_words="]),
        ("dynamo serve missing.ipynb:Fr", []),
    ],
)
def test_targets_and_configuration_keys_of_a_file_are_completed_without_running_it(bash, line, words):
    assert bash(line) == words


def test_zsh_adds_a_blank_only_after_whole_words(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part.py").touch()
    question = {"_DYNAMO_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "dynamo serve pa"}
    done = subprocess.run([DYNAMO], env=os.environ | question, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "compadd -S '' -- part/; compadd -- part.py\n"


@pytest.mark.slow
def test_services_workers_endpoints_and_deployments_that_run_are_completed(bash, dynamo_home, tmp_path):
    (tmp_path / "plain.py").write_text(SERVICES.replace("raise_if_this_runs", "# "))
    command = [DYNAMO, "serve", f"{tmp_path}/plain.py:Frontend", "--detach", "--http-port", "0"]
    subprocess.run(command, check=True, capture_output=True)
    try:
        assert bash("dynamo logs Ba") == ["Backend"]
        assert bash("dynamo scale Ba") == ["Backend="]
        assert "Backend[0]" in bash("dynamo console Ba")
        assert bash("dynamo trace Back") == ["Backend.generate"]
        assert re.fullmatch(r"frontend-\w+", *bash("dynamo stop "))
    finally:
        subprocess.run([DYNAMO, "stop"], check=True, capture_output=True)
