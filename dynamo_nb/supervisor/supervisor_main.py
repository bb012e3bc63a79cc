"""The beginning of a supervisor's process: what takes long is started first, and goes on beside the imports."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from dynamo_nb.supervisor.forkserver import warm_up


def main() -> None:
    """Entry of the process: a line of JSON (Options) comes in, a line goes out, then it is on its own."""
    gc.disable()  # for the imports, which leave no garbage
    given = json.loads(sys.stdin.readline())
    folder = Path(given["folder"])
    # Where multiprocessing puts its socket; given so, it is not removed at exit, when the folder has gone already.
    multiprocessing.current_process()._config["tempdir"] = str(folder)  # type: ignore[attr-defined]
    answer_to = os.dup(1)
    log = os.open(folder / "logs" / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    warm_up(kernels=given["kernels"], http=given["http"])
    from dynamo_nb.errors import StartError
    from dynamo_nb.runtime.nats_server import NatsServer

    nats = None if given["access"]["nats_url"] else NatsServer()
    if nats is not None:
        with suppress(StartError, OSError):  # the supervisor tries again, and says why it cannot
            nats.launch(folder / "nats")
    import asyncio

    from dynamo_nb.control.options import Options
    from dynamo_nb.runtime.connection_settings import Access
    from dynamo_nb.supervisor.supervisor import Supervisor

    gc.freeze()
    gc.enable()

    def said(message: dict[str, Any]) -> None:
        os.write(answer_to, json.dumps(message).encode() + b"\n")
        os.close(answer_to)

    options = Options(**given | {"access": Access(**given["access"])})
    asyncio.run(Supervisor(options, nats).run(said))
