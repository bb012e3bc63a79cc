"""The end of tasks."""

from __future__ import annotations

import asyncio
from typing import Any, Final

AGAIN: Final = 0.5  # seconds after which a task that goes on is cancelled again


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks, and waits until they have ended, whatever their result.

    Once may not be enough: Python 3.11's `asyncio.wait_for`, on which nats-py is built, forgets a cancellation that
    comes together with the result (https://github.com/python/cpython/issues/86296).
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=AGAIN)
