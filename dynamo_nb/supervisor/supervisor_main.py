"""The main function of a supervisor's process: starts what takes long first, and imports the rest meanwhile."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import sys
from contextlib import suppress
from pathlib import Path

from dynamo_nb.control.framing import Message, encode
from dynamo_nb.control.log_writer import write_to
from dynamo_nb.supervisor.descriptors import raise_limit
from dynamo_nb.supervisor.forkserver import warm_up


def main() -> None:
    """Runs a supervisor: reads its options from standard input, and reports on standard output when it is ready."""
    gc.disable()  # imports leave no garbage
    data = json.loads(sys.stdin.readline())
    folder = Path(data["folder"])
    # Where multiprocessing puts its socket. Set directly, so that it is not removed at exit, after the folder.
    multiprocessing.current_process()._config["tempdir"] = str(folder)  # type: ignore[attr-defined]
    output = os.dup(1)
    write_to(folder / "logs" / "supervisor.log")
    warm_up(kernels=data["kernels"], http=data["http"])
    from dynamo_nb.errors import StartError
    from dynamo_nb.runtime.nats_server import NatsServer

    nats = None if data["access"]["nats_url"] else NatsServer()
    if nats is not None:
        with suppress(StartError, OSError):  # the supervisor tries again, and reports the error
            nats.launch(folder / "nats")
    raise_limit()  # after the processes that keep the user's limit have been started
    import asyncio

    from dynamo_nb.control.options import Options
    from dynamo_nb.supervisor.supervisor import Supervisor

    gc.freeze()
    gc.enable()

    def report(message: Message) -> None:
        os.write(output, encode(message))
        os.close(output)

    asyncio.run(Supervisor(Options.from_data(data), nats).run(report))
