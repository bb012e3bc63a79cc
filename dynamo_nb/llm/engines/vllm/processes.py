"""The processes that vLLM starts for an engine, and their end."""

from __future__ import annotations

import contextlib
import multiprocessing
from typing import Final

import psutil

STOP_TIMEOUT: Final = 10.0  # seconds from the request to stop until the processes are killed


class EngineProcesses:
    """The child processes started since this object was created, with their own children."""

    def __init__(self) -> None:
        self._before = {process.pid for process in multiprocessing.active_children() if process.pid}

    def running(self) -> list[psutil.Process]:
        """Returns the processes that are running now."""
        found = []
        for child in multiprocessing.active_children():
            if child.pid and child.pid not in self._before:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process = psutil.Process(child.pid)
                    found += [process, *process.children(recursive=True)]
        return found


def kill(processes: list[psutil.Process]) -> None:
    """Kills processes; ignores those that have ended."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def wait_for_end(processes: list[psutil.Process]) -> None:
    """Returns when the processes have ended. Kills those that take longer than STOP_TIMEOUT."""
    _, alive = psutil.wait_procs(processes, timeout=STOP_TIMEOUT)
    kill(alive)
    psutil.wait_procs(alive, timeout=STOP_TIMEOUT)
    multiprocessing.active_children()  # collects those that have ended
