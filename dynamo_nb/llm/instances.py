"""Workers that a request can still go to."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from contextlib import suppress
from typing import Any, Final

NO_WORKER_WAIT: Final = 10.0  # seconds for a worker to come; one that crashed is started again, which takes 2 to 5


async def others_than(avoid: Container[int], client: Any) -> list[int]:
    """The client's instances without those to avoid; all of them if no other comes. Raises NoInstances if none comes.

    Others are waited for: of a lost worker it may not be known yet that it is, and its successor is being started.
    """
    ids: list[int] = await client.wait_for_instances(NO_WORKER_WAIT)
    with suppress(TimeoutError):
        async with asyncio.timeout(NO_WORKER_WAIT):
            while not (others := [one for one in client.instance_ids() if one not in avoid]):
                await client.wait_for_change()
            return others
    return ids
