"""Starts a supervisor and waits until it answers."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from dynamo_nb.control import state_dir
from dynamo_nb.control.options import Options
from dynamo_nb.errors import DeploymentError, from_wire

_MAIN = "from dynamo_nb.supervisor.supervisor_main import main; main()"
_PATIENCE = 30.0
"""Seconds for a supervisor to say that it is ready; it says why not within 5 s of a NATS that does not answer."""


async def start_supervisor(options: Options) -> None:
    """Returns when the control socket in `options.folder` accepts. Raises what kept the supervisor from it."""
    # A session of its own: Ctrl-C in a terminal is for the owner, who then asks the supervisor to drain.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _MAIN,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        cwd=options.folder,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(asdict(options)).encode() + b"\n")
        async with asyncio.timeout(_PATIENCE):
            said = await process.stdout.readline()
    except BaseException as error:
        with suppress(ProcessLookupError):
            process.kill()  # what it had started dies with it
        await process.wait()
        state_dir.remove(Path(options.folder))
        if isinstance(error, TimeoutError):
            remedy = "the machine may be too busy: try again"
            raise DeploymentError(f"the supervisor was not ready within {_PATIENCE:g} s", remedy=remedy) from None
        raise
    if not said:
        code = await process.wait()
        state_dir.remove(Path(options.folder))
        raise DeploymentError(f"the supervisor ended at its start with exit code {code}", remedy="see the output above")
    message = json.loads(said)
    if "error" in message:
        await process.wait()
        raise from_wire(message["error"])
