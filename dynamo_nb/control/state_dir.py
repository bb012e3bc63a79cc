"""The state directory: one folder for each running deployment, with its sockets, code and logs.

Only its user can enter it. A deployment's folder is removed when the deployment stops; a folder without a living
supervisor is left from a crash.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dynamo_nb.control.starters import note_starters
from dynamo_nb.errors import DeploymentError

VARIABLE: Final = "DYNAMO_HOME"
"""The environment variable with the path of the state directory."""
CONTROL: Final = "control.sock"
"""The control socket in a deployment's folder."""
_PARTS: Final = ("code", "logs", "kernels", "sockets")
_MAX_SOCKET_PATH: Final = 107
"""Bytes that the path of a Unix socket may have."""
_LONGEST_NAME: Final = len("/abcdefghijkl-12345678/kernels/12345678-ipc-5")
_OWN_ENTRY: Final = re.compile(r"[a-z0-9]{1,12}-[0-9a-f]{8}|gpus")
"""Names of the folders that deployments create in the state directory."""
_OTHER_FOLDER: Final = f"set {VARIABLE} to another folder"


def root() -> Path:
    """The state directory of this user on this machine, created if it is missing.

    It is `DYNAMO_HOME`, else in the user's runtime directory, else in /tmp: close to the root, because the paths of
    sockets are short. If others can enter a folder of the user, its access is restricted to the user, unless it holds
    files of other programs.

    Raises:
        DeploymentError: it cannot be created, belongs to another user, is open to others, or its path is too long for
            sockets.
    """
    if given := os.environ.get(VARIABLE):
        folder = Path(given).absolute()
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        folder = Path(runtime, "dynamo_nb")
    else:
        folder = Path(tempfile.gettempdir(), f"dynamo_nb-{os.getuid()}")
    if len(os.fsencode(folder)) + _LONGEST_NAME > _MAX_SOCKET_PATH:
        raise DeploymentError(
            f"the path of the state directory is too long for sockets: {folder}",
            remedy=f"set {VARIABLE} to a folder with a shorter path",
        )
    with writing():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _restrict(folder)
    return folder


def _restrict(folder: Path) -> None:
    """Restricts a folder to this user. Raises DeploymentError if that is not possible."""
    # In a folder that all users can write to, such as /tmp, the link may belong to another user.
    for found in (folder.lstat(), folder.stat()):
        if found.st_uid != os.getuid():
            raise DeploymentError(f"the state directory belongs to another user: {folder}", remedy=_OTHER_FOLDER)
    if not _is_open(folder):
        return
    if others := sorted(entry.name for entry in os.scandir(folder) if not _is_own(entry)):
        raise DeploymentError(
            f"other users can enter the state directory, which holds other files too ({others[0]}): {folder}",
            remedy=f"restrict it to yourself (chmod 700 {folder}), or {_OTHER_FOLDER}",
        )
    folder.chmod(0o700)
    if _is_open(folder):
        raise DeploymentError(
            f"other users can enter the state directory, and its file system does not keep permissions: {folder}",
            remedy=_OTHER_FOLDER,
        )


def _is_open(folder: Path) -> bool:
    return bool(stat.S_IMODE(folder.stat().st_mode) & 0o077)


def _is_own(entry: os.DirEntry[str]) -> bool:
    found = entry.stat(follow_symlinks=False)
    return bool(_OWN_ENTRY.fullmatch(entry.name)) and stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


@contextmanager
def writing() -> Iterator[None]:
    """Converts an OSError from writing to the state directory into an error with a remedy.

    Raises:
        DeploymentError: a file or folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}: {error.filename or 'the state directory'}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            remedy = f"free some space, or set {VARIABLE} to a folder on another disk"
        elif error.errno in {errno.EEXIST, errno.ENOTDIR}:
            reason, remedy = f"this is not a folder: {error.filename}", _OTHER_FOLDER
        elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            remedy = f"set {VARIABLE} to a folder in which you can write"
        else:
            remedy = _OTHER_FOLDER
        raise DeploymentError(f"the state directory cannot be used: {reason}", remedy=remedy) from None


def new_folder(name: str) -> Path:
    """Creates the folder of a new deployment; the name of the folder is the deployment's id.

    Raises:
        DeploymentError: see `root`; also if the folder cannot be created.
    """
    plain = "".join(c for c in name.lower() if c.isascii() and c.isalnum())[:12] or "graph"
    folder = root() / f"{plain}-{secrets.token_hex(4)}"
    with writing():
        folder.mkdir(mode=0o700)
        note_starters(folder, os.getpid())
        for part in _PARTS:
            (folder / part).mkdir(mode=0o700)
    return folder


def remove(folder: Path) -> None:
    """Removes a deployment's folder."""
    shutil.rmtree(folder, ignore_errors=True)
