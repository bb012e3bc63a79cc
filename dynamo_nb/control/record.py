"""The record of a deployment: a file in its folder that says which processes belong to it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from dynamo_nb.control import state_dir
from dynamo_nb.control.processes import ProcessId

FILE: Final = "deployment.json"
_LOCK: Final = "supervisor.lock"
"""The file that a supervisor locks: other containers and machines that share the folder cannot see its process."""


@dataclass(frozen=True)
class Record:
    """A deployment as its folder describes it.

    Attributes:
        id: the name of the folder.
        name: see `Status.name`.
        folder: folder of the deployment.
        supervisor: its process.
        owner: the process whose life it shares; None if it is detached.
        started: seconds since the epoch.
        processes: all that the supervisor started, for cleaning up after a crash.
        notebook: path of the notebook that served it; the folder, with a slash at the end, if the path is not known; ""
            for other programs.
        served_with: digest of the options of `serve`, to recognise equal options.
        owned_by: name of the owner in messages, such as a notebook's name.
        ports: ports that it holds.
        gpus: ids of the GPUs that it holds.
        stopping: True once it is being stopped.
    """

    id: str
    name: str
    folder: Path
    supervisor: ProcessId
    owner: ProcessId | None
    started: float
    processes: tuple[ProcessId, ...] = field(default=())
    owned_by: str = ""
    notebook: str = ""
    served_with: str = ""
    ports: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    stopping: bool = False

    @property
    def alive(self) -> bool:
        """True if the supervisor runs, also in another container or on another machine."""
        return self.supervisor.alive or is_locked(self.folder)

    @property
    def is_left_running(self) -> bool:
        """True if it runs, is detached, and is not being stopped."""
        return self.owner is None and not self.stopping and self.alive

    @property
    def ending(self) -> bool:
        """True if it is about to end by itself, and processes of it still run."""
        if self.supervisor.alive:
            return self.stopping or (self.owner is not None and not self.owner.alive)
        return self.stopping if self.alive else any(process.alive for process in self.processes)

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.folder / state_dir.CONTROL

    def write(self) -> None:
        """Writes the record into its folder, in place of an earlier one."""
        new = self.folder / (FILE + ".new")
        new.write_text(json.dumps(asdict(self), default=str, indent=1))
        new.rename(self.folder / FILE)

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Reads the record of a folder. Raises OSError, ValueError, KeyError or TypeError if it has no valid one."""
        data = json.loads((folder / FILE).read_text())
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
            notebook=data.get("notebook", ""),
            served_with=data.get("served_with", ""),
            ports=tuple(data.get("ports", ())),
            gpus=tuple(data.get("gpus", ())),
            stopping=data.get("stopping", False),
        )


def lock(folder: Path) -> int:
    """Locks the folder of a deployment for its supervisor. The lock ends with the process.

    Args:
        folder: Folder of the deployment.

    Returns:
        The file descriptor that holds the lock.
    """
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # waits while another process is in `is_locked`
    return descriptor


def is_locked(folder: Path) -> bool:
    """Returns True if a supervisor has locked the folder of its deployment.

    Args:
        folder: Folder of the deployment.
    """
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def left_running(known: Collection[str] = (), notebook: str = "") -> list[Record]:
    """Returns the running detached deployments, oldest first.

    Args:
        known: ids of deployments to leave out.
        notebook: only deployments of this notebook, see `Record.notebook`; "" for all.

    Raises:
        DeploymentError: the state directory cannot be used.
    """
    found = (record for record in records() if record.is_left_running and record.id not in known)
    return [record for record in found if notebook in {"", record.notebook}]


def records() -> Iterator[Record]:
    """Every deployment that has a folder, oldest first, including those whose supervisor crashed."""
    found = []
    for folder in state_dir.root().iterdir():
        try:
            found.append(Record.read(folder))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not a deployment, or its record is not written yet
    yield from sorted(found, key=lambda record: record.started)
