"""The state directory: it is private to its user, whatever the user has made, or the error says what to do."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dynamo_nb.control import state_dir
from dynamo_nb.errors import DeploymentError

NOBODY = 65534
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of two users")
MOUNTS = shutil.which("unshare") and not subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode
MOUNTS_ONLY = pytest.mark.skipif(not MOUNTS, reason="this user cannot mount file systems")
NEW_FOLDER = """
from dynamo_nb.control import state_dir
from dynamo_nb.errors import DeploymentError
try:
    print(state_dir.new_folder("graph"))
except DeploymentError as error:
    print(error)
"""


@pytest.fixture
def home(dynamo_home, monkeypatch):
    """A folder for DYNAMO_HOME that does not exist yet."""
    folder = dynamo_home / "h"
    monkeypatch.setenv("DYNAMO_HOME", str(folder))
    return folder


def mode(folder):
    return stat.S_IMODE(folder.stat().st_mode)


def empty(home):
    home.mkdir()
    home.chmod(0o755)


def of_earlier_deployments(home):
    (home / "graph-0a1b2c3d").mkdir(parents=True)
    (home / "gpus").mkdir()
    home.chmod(0o777)


def link_to_a_folder(home):
    target = home.with_name("target")
    target.mkdir()
    target.chmod(0o755)
    home.symlink_to(target)


@pytest.mark.parametrize("make", [lambda _: None, empty, of_earlier_deployments, link_to_a_folder])
def test_a_folder_of_the_user_is_restricted_to_the_user(home, make):
    make(home)

    folder = state_dir.new_folder("graph")

    assert mode(home) == 0o700
    assert folder.parent == home


def with_other_files(home):
    empty(home)
    (home / "notes.txt").touch()


def with_a_folder_of_another_user(home):
    of_earlier_deployments(home)
    os.chown(home / "graph-0a1b2c3d", NOBODY, NOBODY)


def of_another_user(home):
    home.mkdir(mode=0o700)
    os.chown(home, NOBODY, NOBODY)


def link_of_another_user(home):
    link_to_a_folder(home)
    os.lchown(home, NOBODY, NOBODY)


OTHER_FOLDER = "set DYNAMO_HOME to another folder"
REFUSED = {
    "other files": (with_other_files, "holds other files too (notes.txt)", "chmod 700"),
    "a file": (Path.touch, "this is not a folder: ", OTHER_FOLDER),
    "a link to nothing": (
        lambda home: home.symlink_to(home.parent / "nothing"),
        "this is not a folder: ",
        OTHER_FOLDER,
    ),
    "a loop of links": (lambda home: home.symlink_to(home), "this is not a folder: ", OTHER_FOLDER),
    "below a file": (lambda home: home.parent.joinpath("file").touch(), "this is not a folder: ", OTHER_FOLDER),
}
OF_OTHERS = {
    "a folder of another user": (of_another_user, "belongs to another user", OTHER_FOLDER),
    "a link of another user": (link_of_another_user, "belongs to another user", OTHER_FOLDER),
    "another user's folder in it": (with_a_folder_of_another_user, "(graph-0a1b2c3d)", "chmod 700"),
}


@pytest.mark.parametrize(
    "case", [*REFUSED, *(pytest.param(case, marks=ROOT_ONLY) for case in OF_OTHERS)], ids=lambda case: case
)
def test_another_folder_is_refused_in_words(home, monkeypatch, case):
    make, what, remedy = {**REFUSED, **OF_OTHERS}[case]
    make(home)
    if case == "below a file":
        monkeypatch.setenv("DYNAMO_HOME", str(home.parent / "file" / "h"))

    with pytest.raises(DeploymentError) as refused:
        state_dir.root()

    assert what in str(refused.value)
    assert remedy in str(refused.value)
    assert str(home.parent) in str(refused.value)


def test_a_path_that_is_too_long_for_sockets_is_refused_in_words(home, monkeypatch):
    monkeypatch.setenv("DYNAMO_HOME", str(home / ("long" * 20)))

    with pytest.raises(DeploymentError, match=r"too long for sockets(.|\n)*shorter path"):
        state_dir.root()
    assert not home.exists()


FILE_SYSTEMS = {
    "no space": ("mount -t tmpfs -o size=8k,nr_inodes=3,mode=700 none .", "No space left on device", "free some space"),
    "read-only": ("mount -t tmpfs -o ro,mode=700 none .", "Read-only file system", "in which you can write"),
}


@MOUNTS_ONLY
@pytest.mark.parametrize("case", FILE_SYSTEMS)
def test_a_folder_that_cannot_be_written_is_refused_in_words(home, case):
    mount, what, remedy = FILE_SYSTEMS[case]
    home.mkdir(mode=0o700)
    script = f'{mount} && cd . && exec "$@"'

    command = ["unshare", "-rm", "sh", "-c", script, "sh", sys.executable, "-c", NEW_FOLDER]
    ran = subprocess.run(command, cwd=home, capture_output=True, text=True, check=True)

    assert what in ran.stdout
    assert remedy in ran.stdout


def test_a_deployment_is_served_from_a_relative_path(project, dynamo_home, monkeypatch):
    project.write(
        "upper.py",
        "from dynamo_nb import dynamo_endpoint, service\n\n"
        "@service\nclass Upper:\n    @dynamo_endpoint()\n    async def say(self, text: str) -> str:\n"
        "        return text.upper()\n",
    )
    monkeypatch.chdir(dynamo_home)
    monkeypatch.setenv("DYNAMO_HOME", "relative")

    with project.serve("upper:Upper").result() as deployment:
        assert deployment.Upper.say("hello").result() == "HELLO"
        assert deployment.folder.parent == dynamo_home / "relative"
        assert {entry.name for entry in deployment.folder.parent.iterdir()} <= {deployment.id, "gpus"}
