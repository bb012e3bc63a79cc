"""Starts a supervisor and waits until it answers."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from dynamo_nb.control import framing, state_dir
from dynamo_nb.control.options import Options
from dynamo_nb.control.starters import note_starters
from dynamo_nb.errors import DeploymentError, from_wire

_MAIN: Final = "from dynamo_nb.supervisor.supervisor_main import main; main()"
_START_LIMIT: Final = 30.0
"""Seconds for a supervisor to become ready. It reports a NATS server that does not answer within 5 s."""


async def start_supervisor(options: Options) -> None:
    """Returns when the control socket in `options.folder` accepts connections.

    Raises:
        DynamoError: the supervisor could not start; its folder was removed.
    """
    # A session of its own: Ctrl-C in a terminal reaches the owner only, which then asks the supervisor to drain.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _MAIN,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        cwd=options.folder,
        # Absolute, because the supervisor has another working directory.
        env={**os.environ, state_dir.VARIABLE: str(Path(options.folder).parent)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        note_starters(Path(options.folder), os.getpid(), process.pid)
        process.stdin.write(framing.encode(asdict(options)))
        async with asyncio.timeout(_START_LIMIT):
            answer = await process.stdout.readline()
    except BaseException as error:
        with suppress(ProcessLookupError):
            process.kill()  # its children die with it
        await process.wait()
        state_dir.remove(Path(options.folder))
        if isinstance(error, TimeoutError):
            remedy = "the machine may be overloaded: try again"
            raise DeploymentError(f"the supervisor was not ready within {_START_LIMIT:g} s", remedy=remedy) from None
        raise
    if not answer:
        code = await process.wait()
        state_dir.remove(Path(options.folder))
        raise DeploymentError(f"the supervisor failed to start, with exit code {code}", remedy="see the output above")
    message = framing.decode(answer)
    if "error" in message:
        await process.wait()
        raise from_wire(message["error"])
