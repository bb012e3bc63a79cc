"""The state directory of one run. With it, all processes of the run are found and ended."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from dynamo_nb.control.logs import log_tail
from dynamo_nb.control.record import FILE, Record

VARIABLE: Final = "DYNAMO_HOME"
END_LIMIT: Final = 10.0  # seconds for deployments to end by themselves after their notebook
KILL_LIMIT: Final = 5.0  # seconds for killed processes to end
_LOGS: Final = "*.log"


class PrivateState:
    """The deployments of one run. Their processes are found by their environment.

    Args:
        path: The state directory. It contains sockets, so its path must be short. Default: a new directory.

    Attributes:
        path: The state directory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or Path(tempfile.mkdtemp(prefix="dt"))

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of the run."""
        return {VARIABLE: str(self.path)}

    def deployments(self) -> list[Record]:
        """Returns the deployments that are running."""
        found = []
        for folder in self.path.iterdir():
            if (folder / FILE).exists():
                with suppress(OSError, ValueError, KeyError, TypeError):
                    found.append(Record.read(folder))
        return [record for record in found if record.alive]

    def log_tails(self) -> dict[str, str]:
        """Returns the last lines of each worker, by worker. Workers without output are left out."""
        logs = sorted(log for folder in self.path.iterdir() if folder.is_dir() for log in folder.rglob(_LOGS))
        workers = {_worker(log.stem): log for log in logs if log.stem.rpartition(".")[2].isdigit()}
        return {worker: text for worker, log in workers.items() if (text := log_tail(log).strip())}

    def processes(self) -> Iterator[psutil.Process]:
        """Yields the processes of the run, without this process."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid != os.getpid() and process.environ().get(VARIABLE) == str(self.path):
                    yield process

    def end(self) -> list[str]:
        """Ends the remaining processes and removes the directory.

        Returns:
            One line for each deployment that was still running, and for each process that was killed.
        """
        left = [f"deployment {record.name} was still running" for record in self.deployments() if record.owner is None]
        for record in self.deployments():
            if record.owner is None:  # detached: it has no owner whose end would end it
                with suppress(psutil.Error):
                    psutil.Process(record.supervisor.pid).terminate()
        _, remaining = psutil.wait_procs(list(self.processes()), timeout=END_LIMIT)
        for process in remaining:
            with suppress(psutil.Error):
                left.append(f"process {process.pid} was killed: {' '.join(process.cmdline())[:200]}")
                process.kill()
        psutil.wait_procs(remaining, timeout=KILL_LIMIT)
        shutil.rmtree(self.path, ignore_errors=True)
        return left


def _worker(log: str) -> str:
    """The name of a worker, such as `Backend[0]`, from the name of its log."""
    service, _, number = log.rpartition(".")
    return f"{service}[{number}]"
