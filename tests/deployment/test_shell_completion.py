"""`dynamo --install-completion`: verbs and options at a shell."""

import os
import subprocess
import sys

import pytest

DYNAMO = f"{sys.prefix}/bin/dynamo"


@pytest.mark.parametrize(
    ("line", "words"),
    [("dynamo sc", ["scale"]), ("dynamo serve --dry", ["--dry-run"]), ("dynamo graph --format s", ["svg"])],
)
def test_bash_gets_the_possible_next_words(line, words):
    request = {
        "_DYNAMO_COMPLETE": "complete_bash",
        "COMP_WORDS": line.replace(" ", "\n"),
        "COMP_CWORD": str(line.count(" ")),
    }
    done = subprocess.run([DYNAMO], env=os.environ | request, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.split(), done.stderr) == (words, "")


def test_completion_is_installed_in_the_files_of_the_shell(tmp_path):
    subprocess.run(
        ["bash", "-c", f"{DYNAMO} --install-completion && exit"],  # without `exit`, bash replaces itself by the command and is not its parent
        env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert "complete_bash" in (tmp_path / ".bash_completions" / "dynamo.sh").read_text()
    assert "dynamo.sh" in (tmp_path / ".bashrc").read_text()


def test_an_unknown_shell_is_an_error(tmp_path):
    (tmp_path / "dash").symlink_to("/bin/sh")
    done = subprocess.run(
        [tmp_path / "dash", "-c", f"{DYNAMO} --install-completion; exit $?"],
        env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("Shell dash is not supported.\n", 1)
    assert not (tmp_path / ".bashrc").exists()
