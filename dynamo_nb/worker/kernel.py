"""A worker as a Jupyter kernel: the service runs on the kernel's event loop, and clients run cells beside it.

Output of the service goes to the worker's log. Output of a cell goes to the client that ran it.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Any

import zmq
from ipykernel.iostream import IOPubThread, OutStream
from ipykernel.kernelapp import IPKernelApp
from traitlets.config import Config
from zmq.eventloop.zmqstream import ZMQStream

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# ipykernel's debugger listens on a TCP port without authentication, through which any local user could run code. It has
# no setting to turn it off; ipykernel does without it where debugpy cannot be imported. This also saves that import.
sys.modules["debugpy"] = None  # type: ignore[assignment]  # an import of it fails from here on
try:
    importlib.import_module("ipykernel.debugger")
finally:
    del sys.modules["debugpy"]


class WorkerStream(OutStream):  # type: ignore[misc]
    """Standard output and error. Text that a cell writes goes to the cell; all other text goes to the log.

    ipykernel assigns the output of threads and tasks that belong to no cell to the latest cell, which would then show
    what the service prints.
    """

    _bytes: CellBytes | None = None

    def _in_a_cell(self) -> bool:
        try:
            return bool(self._parent_header.get())
        except LookupError:
            return False

    def _log(self) -> Any:
        return sys.__stderr__ if self.name == "stderr" else sys.__stdout__

    def write(self, string: str) -> int | None:
        if self._in_a_cell():
            return super().write(string)  # type: ignore[no-any-return]
        log = self._log()
        written: int = log.write(string)
        if "\n" in string:
            log.flush()
        return written

    def flush(self) -> None:
        if self._in_a_cell():
            super().flush()
        else:
            self._log().flush()

    def fileno(self) -> int:
        return self._log().fileno()  # type: ignore[no-any-return]

    def close(self) -> None:
        """Flushes the stream. It stays open, because the worker continues to print."""
        self.flush()

    @property
    def buffer(self) -> CellBytes:
        """The binary buffer, as of a file."""
        if self._bytes is None:
            self._bytes = CellBytes(self)
        return self._bytes

    def detach(self) -> CellBytes:
        """Returns the buffer, for another wrapper around it. This stream stays usable."""
        return self.buffer

    def reconfigure(self, **options: Any) -> None:
        """Changes the encoding and the buffering of the log, as for a file."""
        self._log().reconfigure(**options)


class CellBytes(io.BufferedIOBase):
    """The binary buffer of a `WorkerStream`. Bytes from a cell are decoded as UTF-8 and shown in the cell."""

    def __init__(self, stream: WorkerStream) -> None:
        self._stream = stream
        self._decoder = getincrementaldecoder("utf-8")("replace")

    @property
    def raw(self) -> Any:
        return self._stream._log().buffer.raw

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Writes all of the data."""
        content = bytes(data)
        if self._stream._in_a_cell():
            self._stream.write(self._decoder.decode(content))
            return len(content)
        self._stream._log().buffer.write(content)
        return len(content)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """Does nothing: the stream stays open when a wrapper around it is closed."""

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return False


class OutputThread(IOPubThread):  # type: ignore[misc]
    """Sends the output of cells. Forked children of the worker pass theirs to it through a Unix socket.

    ipykernel's own listens on a TCP port for them, to which any local user may send.
    """

    def __init__(self, socket: zmq.Socket[bytes], pipe_address: str, session: Any) -> None:
        self._pipe_address = pipe_address
        super().__init__(socket, pipe=True, session=session)

    def _setup_pipe_in(self) -> None:
        self._pipe_uuid = os.urandom(16)
        pipe = self.socket.context.socket(zmq.PULL)
        pipe.linger = 0
        pipe.bind(self._pipe_address)
        self._pipe_in = ZMQStream(pipe, self.io_loop)
        self._pipe_in.on_recv(self._handle_pipe_msg)

    def _setup_pipe_out(self) -> tuple[zmq.Context[Any], zmq.Socket[bytes]]:
        context = zmq.Context()  # the context of the parent cannot be used after a fork
        pipe = context.socket(zmq.PUSH)
        pipe.linger = 3000
        pipe.connect(self._pipe_address)
        return context, pipe


class WorkerApp(IPKernelApp):  # type: ignore[misc]
    """A kernel without a command line: constructing its parser takes a sixth of a kernel's start."""

    iopub_port: int

    def parse_command_line(self, argv: list[str] | None = None) -> None:
        """Does nothing."""

    def init_iopub(self, context: zmq.Context[Any]) -> None:
        """Opens the channel for output, with our thread. The channels have the sockets 1 to 5, its pipe the sixth."""
        channel = context.socket(zmq.XPUB)
        channel.linger = 1000
        self.iopub_port = self._bind_socket(channel, self.iopub_port)
        self.configure_tornado_logger()
        self.iopub_thread = OutputThread(channel, f"ipc://{self.ip}-6", self.session)
        self.iopub_thread.start()
        self.iopub_socket = self.iopub_thread.background_socket


class Kernel:
    """The kernel of this process, on the current event loop."""

    def __init__(self, connection_file: str) -> None:
        self._app = WorkerApp.instance(
            # No history on disk: every worker would write to it.
            config=Config(HistoryManager={"enabled": False}, IPKernelApp={"log_level": logging.CRITICAL}),
            connection_file=connection_file,
            outstream_class="dynamo_nb.worker.kernel.WorkerStream",
            capture_fd_output=False,
        )
        self._app.initialize()

    def bind(self, service: object) -> None:
        """Makes the service available to cells as `self`."""
        self._app.shell.user_ns["self"] = service

    def run(self) -> None:
        """Runs the event loop until it is stopped."""
        self._app.start()
