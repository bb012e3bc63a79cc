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
def test_bash_is_given_what_can_come_next(line, words):
    asked = {"_DYNAMO_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = subprocess.run([DYNAMO], env=os.environ | asked, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.split(), done.stderr) == (words, "")


def test_it_is_installed_where_the_shell_looks(tmp_path):
    subprocess.run(
        ["bash", "-c", f"{DYNAMO} --install-completion && exit"],  # else bash would become it, and be no parent of it
        env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert "complete_bash" in (tmp_path / ".bash_completions" / "dynamo.sh").read_text()
    assert "dynamo.sh" in (tmp_path / ".bashrc").read_text()


def test_a_shell_that_is_not_known_is_an_error(tmp_path):
    (tmp_path / "dash").symlink_to("/bin/sh")
    done = subprocess.run(
        [tmp_path / "dash", "-c", f"{DYNAMO} --install-completion; exit $?"],
        env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("Shell dash is not supported.\n", 1)
    assert not (tmp_path / ".bashrc").exists()
