"""Steps that run side by side, and steps that a cancellation does not interrupt."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any


async def run_all(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs steps side by side. The first error cancels the others and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except ExceptionGroup as errors:  # on Python before 3.11.4, `except*` raises a group again
        raise errors.exceptions[0] from None


async def run_to_end(step: Coroutine[Any, Any, None]) -> None:
    """Runs a step that must not be left half done, even if the calling task is cancelled."""
    task = asyncio.create_task(step)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()
