"""Where running deployments keep their files: one folder each, which only their user can enter.

Socket paths may have 107 bytes, so the folder stands near the root: `DYNAMO_HOME`, else the user's runtime directory,
else a folder in /tmp. A deployment's folder is removed when it stops; one that is left belongs to a crash.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from dynamo_nb.errors import DeploymentError

RECORD, CONTROL = "deployment.json", "control.sock"
_LOOK = 0.5
"""Seconds between two looks at a process, where the system does not tell of its end."""
START_LIMIT = 60.0
"""Seconds after which a folder without a record is nobody's: whoever starts a supervisor gives up earlier."""
_MAX_SOCKET_PATH = 107
_LONGEST_NAME = len("/abcdefghijkl-12345678/kernels/12345678-ipc-5")


def home() -> Path:
    """The folder of all deployments of this user on this machine, made if it is missing.

    Raises DeploymentError if it belongs to somebody else or is too deep for sockets.
    """
    if given := os.environ.get("DYNAMO_HOME"):
        folder = Path(given)
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        folder = Path(runtime, "dynamo_nb")
    else:
        folder = Path(tempfile.gettempdir(), f"dynamo_nb-{os.getuid()}")
    if len(os.fsencode(folder)) + _LONGEST_NAME > _MAX_SOCKET_PATH:
        raise DeploymentError(
            f"the folder for deployments is too deep for sockets: {folder}",
            remedy="set DYNAMO_HOME to a folder with a shorter path",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = folder.stat()
    if owner.st_uid != os.getuid() or stat.S_IMODE(owner.st_mode) & 0o077:
        raise DeploymentError(
            f"others can enter the folder for deployments: {folder}",
            remedy=f"make it yours alone (chmod 700 {folder}), or set DYNAMO_HOME to another",
        )
    return folder


@dataclass(frozen=True)
class ProcessId:
    """A process that cannot be confused with a later one of the same number. created: seconds since the epoch."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    async def ended(self) -> None:
        """Returns when the process has ended."""
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        except (AttributeError, OSError):  # no pidfd on this system
            while self.alive:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(_LOOK)
            return
        try:
            if self.alive:
                loop.add_reader(descriptor, end.set)
                await end.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


@dataclass(frozen=True)
class Record:
    """What a deployment's folder says of it.

    processes: all that it started, for cleaning up after a crash. owned_by: what the owner is, in words.
    """

    id: str
    name: str
    folder: Path
    supervisor: ProcessId
    owner: ProcessId | None
    started: float
    processes: tuple[ProcessId, ...] = field(default=())
    owned_by: str = ""

    @property
    def alive(self) -> bool:
        return self.supervisor.alive

    @property
    def control(self) -> Path:
        return self.folder / CONTROL

    def write(self) -> None:
        new = self.folder / (RECORD + ".new")
        new.write_text(json.dumps(asdict(self), default=str, indent=1))
        new.rename(self.folder / RECORD)

    @classmethod
    def read(cls, folder: Path) -> Record:
        data = json.loads((folder / RECORD).read_text())
        owner = data["owner"]
        return cls(
            id=data["id"],
            name=data["name"],
            folder=folder,
            supervisor=ProcessId(**data["supervisor"]),
            owner=ProcessId(**owner) if owner else None,
            started=data["started"],
            processes=tuple(ProcessId(**p) for p in data["processes"]),
            owned_by=data.get("owned_by", ""),
        )


def new_folder(name: str) -> Path:
    """A fresh folder for a deployment; its name is the deployment's id."""
    plain = "".join(c for c in name.lower() if c.isascii() and c.isalnum())[:12] or "graph"
    folder = home() / f"{plain}-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    for part in ("code", "logs", "kernels", "sockets"):
        (folder / part).mkdir(mode=0o700)
    return folder


def records() -> Iterator[Record]:
    """Every deployment that has a folder, oldest first, those that a crash left included."""
    found = []
    for folder in home().iterdir():
        try:
            found.append(Record.read(folder))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not (yet) a deployment
    yield from sorted(found, key=lambda record: record.started)


def abandoned() -> Iterator[Path]:
    """Folders of deployments that ended before they wrote a record."""
    for folder in home().iterdir():
        made = (folder / "sockets").is_dir() and not (folder / RECORD).exists()
        if made and time.time() - folder.stat().st_mtime > START_LIMIT:
            yield folder


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
