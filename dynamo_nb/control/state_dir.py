"""The state directory: one folder for each running deployment, with its sockets, code and logs.

Only its user can enter it. A deployment's folder is removed when the deployment stops; a folder without a living
supervisor is left from a crash.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

from dynamo_nb.control.starters import note_starters
from dynamo_nb.errors import DeploymentError

CONTROL: Final = "control.sock"
"""The control socket in a deployment's folder."""
_PARTS: Final = ("code", "logs", "kernels", "sockets")
_MAX_SOCKET_PATH: Final = 107
"""Bytes that the path of a Unix socket may have."""
_LONGEST_NAME: Final = len("/abcdefghijkl-12345678/kernels/12345678-ipc-5")


def root() -> Path:
    """The state directory of this user on this machine, created if it is missing.

    It is `DYNAMO_HOME`, else in the user's runtime directory, else in /tmp: close to the root, because the paths of
    sockets are short.

    Raises:
        DeploymentError: it belongs to another user, others can enter it, or its path is too long for sockets.
    """
    if given := os.environ.get("DYNAMO_HOME"):
        folder = Path(given)
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        folder = Path(runtime, "dynamo_nb")
    else:
        folder = Path(tempfile.gettempdir(), f"dynamo_nb-{os.getuid()}")
    if len(os.fsencode(folder)) + _LONGEST_NAME > _MAX_SOCKET_PATH:
        raise DeploymentError(
            f"the path of the state directory is too long for sockets: {folder}",
            remedy="set DYNAMO_HOME to a folder with a shorter path",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = folder.stat()
    if owner.st_uid != os.getuid() or stat.S_IMODE(owner.st_mode) & 0o077:
        raise DeploymentError(
            f"other users can enter the state directory: {folder}",
            remedy=f"restrict it to yourself (chmod 700 {folder}), or set DYNAMO_HOME to another folder",
        )
    return folder


def new_folder(name: str) -> Path:
    """Creates the folder of a new deployment; the name of the folder is the deployment's id."""
    plain = "".join(c for c in name.lower() if c.isascii() and c.isalnum())[:12] or "graph"
    folder = root() / f"{plain}-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    note_starters(folder, os.getpid())
    for part in _PARTS:
        (folder / part).mkdir(mode=0o700)
    return folder


def remove(folder: Path) -> None:
    """Removes a deployment's folder."""
    shutil.rmtree(folder, ignore_errors=True)
