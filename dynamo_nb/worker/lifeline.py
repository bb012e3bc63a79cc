"""A worker's lifeline: the connection to its supervisor, for commands and reports. The worker dies when it breaks.

A thread reads it, and not the event loop, because a worker must die with its supervisor even when its loop is busy or
blocked. Everything that the worker started is killed with it, such as the processes of an engine.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable

from dynamo_nb.control.framing import Message, decode, encode
from dynamo_nb.control.subreaper import kill_descendants
from dynamo_nb.control.worker_messages import Command, Report, as_message, command_from


class Lifeline:
    """Connects at once. Commands that arrive before `on_command` was called wait for it.

    Args:
        path: path of the control socket.
        worker_id: id of this worker.
    """

    def __init__(self, path: str, worker_id: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._lock = threading.Lock()
        self._early: list[Command] = []
        self._on_command: Callable[[Command], None] | None = None
        try:
            self._socket.connect(path)
        except OSError:
            _die()
        self._send({"worker": worker_id, "pid": os.getpid()})
        threading.Thread(target=self._read, name="dynamo-lifeline", daemon=True).start()

    def report(self, report: Report) -> None:
        """Sends a report to the supervisor, from any thread."""
        self._send(as_message(report))

    def on_command(self, handle: Callable[[Command], None]) -> None:
        """Sets the function that is called with each command, in the thread that reads."""
        with self._lock:
            self._on_command = handle
            early, self._early = self._early, []
        for command in early:
            handle(command)

    def _send(self, message: Message) -> None:
        with self._lock:
            try:
                self._socket.sendall(encode(message))
            except OSError:
                _die()

    def _read(self) -> None:
        with self._socket.makefile("r", encoding="utf-8") as lines:
            try:
                for line in lines:
                    command = command_from(decode(line))
                    with self._lock:
                        handle = self._on_command
                        if handle is None:
                            self._early.append(command)
                    if handle is not None:
                        try:
                            handle(command)
                        except Exception:  # the thread has to go on: it receives every later command
                            traceback.print_exc()
            except OSError:
                pass
        _die()


def _die() -> None:
    try:
        kill_descendants(os.getpid())
    finally:
        os.killpg(0, signal.SIGKILL)
