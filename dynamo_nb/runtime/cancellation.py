"""Cancellation of tasks."""

from __future__ import annotations

import asyncio
from typing import Any, Final

RETRY_AFTER: Final = 0.5  # seconds after which a task that still runs is cancelled again


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks and waits until they have ended. Their results are ignored.

    One cancellation may not be enough: `asyncio.wait_for` of Python 3.11, on which nats-py is built, loses a
    cancellation that arrives together with the result (https://github.com/python/cpython/issues/86296).
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=RETRY_AFTER)
