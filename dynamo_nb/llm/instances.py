"""The workers that a request can still go to."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from contextlib import suppress
from typing import Any, Final

NO_WORKER_WAIT: Final = 10.0  # seconds to wait for a worker; one that crashed is started again in 2 to 5 seconds


async def available_instances(avoid: Container[int], client: Any) -> list[int]:
    """Returns the ids of a client's instances, without those to avoid; all of them if no other instance appears.

    It waits for other instances: a lost worker may still be registered while its successor starts.

    Args:
        avoid: Instances that the request has been to.
        client: The client of the endpoint.

    Raises:
        NoInstances: No instance appears.
    """
    ids: list[int] = await client.wait_for_instances(NO_WORKER_WAIT)
    with suppress(TimeoutError):
        async with asyncio.timeout(NO_WORKER_WAIT):
            while not (others := [one for one in client.instance_ids() if one not in avoid]):
                await client.wait_for_change()
            return others
    return ids
