"""Health of the deployments in this container, for the probes of a pod: `python -m dynamo_nb.worker.probe ready`.

It asks their supervisors, because services without HTTP have no port to probe. The exit status is 0, or 1 with the
reason on standard error.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from dynamo_nb.control.client import ask_status
from dynamo_nb.control.record import records
from dynamo_nb.errors import ConnectError

REPLY_LIMIT: Final = 4.0
"""Seconds for a supervisor to answer; less than the timeout of the pod's probes."""


async def fault(question: str) -> str:
    """Checks the deployments of this user.

    Args:
        question: "alive" (their supervisors answer) or "ready" (every service has a ready worker too).

    Returns:
        The first fault found; "" if there is none.
    """
    running = [record for record in records() if record.alive]
    if not running:
        return "nothing is being served"
    for record in running:
        try:
            async with asyncio.timeout(REPLY_LIMIT):
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
