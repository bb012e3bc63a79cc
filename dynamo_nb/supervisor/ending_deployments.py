"""Deployments that end, and what they hold: a change waits for it, as after a restart of a notebook's kernel.

A deployment ends when its owner has ended, when it is being stopped, or when its supervisor was killed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

from dynamo_nb.control.record import Record, records
from dynamo_nb.errors import PlacementError

T = TypeVar("T")

WAIT_LIMIT: Final = 60.0
"""Seconds to wait: a deployment that ends lets its workers finish their requests."""
_POLL: Final = 0.1
"""Seconds between two attempts. Sockets and locks of another process announce nothing when they are released."""


class EndingDeployments:
    """Waits for what ending deployments hold.

    Attributes:
        waiting: what is waited for now, for users; "" if nothing.
        warnings: what was waited for, for users.
    """

    def __init__(self) -> None:
        self.waiting = ""
        self.warnings: list[str] = []

    async def wait(
        self, attempt: Callable[[frozenset[int]], T], on_change: Callable[[], None], limit: float = WAIT_LIMIT
    ) -> T:
        """Tries to take ports and GPUs, again and again while ending deployments hold some.

        Args:
            attempt: takes what is needed. It is called with the ports that will be free soon, for which no other port
                is to be taken.
            on_change: called when `waiting` has changed.
            limit: seconds to wait.

        Raises:
            PlacementError: what `attempt` raises when there is nothing to wait for.
        """
        try:
            return await self._wait(attempt, on_change, limit)
        finally:
            if self.waiting:
                self.waiting = ""
                on_change()

    async def _wait(self, attempt: Callable[[frozenset[int]], T], on_change: Callable[[], None], limit: float) -> T:
        began = time.monotonic()
        names = ""
        while True:
            ending = ending_holders()
            if time.monotonic() - began > limit:
                ending = []
            try:
                result = attempt(frozenset(port for record in ending for port in record.ports))
            except PlacementError as error:
                if not ending:
                    raise
                names = ", ".join(f"{record.id}, which ends" for record in ending)
                if (waiting := f"waiting for {names}: {error.what}") != self.waiting:
                    self.waiting = waiting
                    print(waiting, flush=True)
                    on_change()
            else:
                if self.waiting:
                    self.warnings = [f"waited {time.monotonic() - began:.1f} s for {names}"]
                return result
            await asyncio.sleep(_POLL)


def ending_holders() -> list[Record]:
    """Returns the deployments that are ending and still hold ports or GPUs."""
    return [record for record in records() if record.ending and (record.ports or record.gpus)]


def holder_of_port(port: int) -> Record | None:
    """The deployment that holds a port."""
    return next((record for record in records() if port in record.ports), None)


def holder_of_gpu(gpu: str) -> Record | None:
    """The deployment that holds a GPU."""
    return next((record for record in records() if gpu in record.gpus), None)


def held_without_a_supervisor(gpu: str) -> bool:
    """True if processes of a deployment still have a GPU whose lock ended with their supervisor."""
    holder = holder_of_gpu(gpu)
    return holder is not None and not holder.alive and holder.ending
