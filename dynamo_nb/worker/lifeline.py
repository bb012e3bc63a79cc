"""A worker's connection to its supervisor: commands in, states out, and death when it breaks.

It is read by a thread, not by the event loop, because a worker must die with its supervisor even when its loop is busy
or blocked. Everything that it started is killed too, so that no engine's own core process stays.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable
from typing import Any

from dynamo_nb.control.subreaper import kill_descendants

Message = dict[str, Any]


class Lifeline:
    """Connects at once; commands that arrive before `on_command` is set are kept for it."""

    def __init__(self, path: str, worker_id: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._lock = threading.Lock()
        self._early: list[Message] = []
        self._on_command: Callable[[Message], None] | None = None
        try:
            self._socket.connect(path)
        except OSError:
            _die()
        self.tell(worker=worker_id, pid=os.getpid())
        threading.Thread(target=self._read, name="dynamo-lifeline", daemon=True).start()

    def tell(self, **message: Any) -> None:
        """Reports to the supervisor; from any thread."""
        with self._lock:
            try:
                self._socket.sendall(json.dumps(message, default=str).encode() + b"\n")
            except OSError:
                _die()

    def on_command(self, handle: Callable[[Message], None]) -> None:
        """`handle` is called, in the reading thread, with each message; its `do` is the command."""
        with self._lock:
            self._on_command = handle
            early, self._early = self._early, []
        for command in early:
            handle(command)

    def _read(self) -> None:
        with self._socket.makefile("r", encoding="utf-8") as lines:
            try:
                for line in lines:
                    command = json.loads(line)
                    with self._lock:
                        handle = self._on_command
                        if handle is None:
                            self._early.append(command)
                    if handle is not None:
                        try:
                            handle(command)
                        except Exception:  # without this thread the worker would hear nothing more
                            traceback.print_exc()
            except OSError:
                pass
        _die()


def _die() -> None:
    try:
        kill_descendants(os.getpid())
    finally:
        os.killpg(0, signal.SIGKILL)
