"""Whether what is served in this container is well, for a pod's probes: `python -m dynamo_nb.worker.probe ready`.

Services without HTTP have no port to ask; their supervisor knows. Ends with 0, or with 1 and the reason.
"""

from __future__ import annotations

import asyncio
import sys

from dynamo_nb.control import state_dir
from dynamo_nb.control.client import ask_status
from dynamo_nb.errors import ConnectError

PATIENCE = 4.0
"""Seconds for a supervisor to answer; less than the probe's own."""


async def fault(question: str) -> str:
    """Why a deployment of this user is not "alive" (its supervisor answers) or "ready" (every service too), or ""."""
    records = [record for record in state_dir.records() if record.alive]
    if not records:
        return "nothing is being served"
    for record in records:
        try:
            async with asyncio.timeout(PATIENCE):
                status = await ask_status(record.control)
        except (ConnectError, TimeoutError):
            return f"the supervisor of {record.id} does not answer"
        if question == "ready":
            for name, service in status.started_services.items():
                if service.desired and not service.ready:
                    return f"{name} is not ready"
    return ""


if __name__ == "__main__":
    sys.exit(asyncio.run(fault(sys.argv[1])) or 0)
