"""Steps that run side by side, steps that a cancellation does not interrupt, and steps that no error ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final, TypeVar

from dynamo_nb.errors import summary_of

T = TypeVar("T")

RETRY_PAUSE: Final = 0.5
"""Seconds after which a step of supervision that failed is tried again."""


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


async def persist(what: str, step: Callable[[], Awaitable[T]]) -> T:
    """Tries a step of supervision until it returns. No error ends it: a full disk or a limit of the system passes.

    Args:
        what: the step in the log; the beginning of a sentence.
        step: called for each attempt.
    """
    last = ""
    while True:
        try:
            return await step()
        except Exception as error:
            if (summary := summary_of(error)) != last:
                print(f"{what} failed and is tried again: {summary}", flush=True)
            last = summary
        await asyncio.sleep(RETRY_PAUSE)
