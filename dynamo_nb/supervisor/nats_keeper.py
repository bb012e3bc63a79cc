"""Keeps the embedded NATS server running, and checks that an external one answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from dynamo_nb.errors import summary_of
from dynamo_nb.runtime.connection_settings import ConnectionSettings
from dynamo_nb.runtime.nats_server import NatsServer
from dynamo_nb.supervisor.event_log import EventLog

STABLE_AFTER: Final = 3.0
"""Seconds of running after which an end of the server is unrelated to its start."""
FIRST_PAUSE, MAX_PAUSE = 0.1, 5.0
"""Seconds between attempts to start the server again, doubled each time: no request can begin without it."""


async def keep_running(nats: NatsServer, folder: Path, events: EventLog) -> None:
    """Starts NATS again whenever it ends, until cancelled. Its clients reconnect, and workers register again."""
    loop = asyncio.get_running_loop()
    since, pause = loop.time(), 0.0
    while True:
        await nats.ended()
        if loop.time() - since > STABLE_AFTER:
            pause = 0.0
        if not pause:
            print("the embedded NATS server ended: restarting it", flush=True)
            events.add("NATS lost", "the embedded NATS server ended")
        await asyncio.sleep(pause)
        first, pause = not pause, min(max(FIRST_PAUSE, 2 * pause), MAX_PAUSE)
        try:
            await nats.start(folder)
        except Exception as error:  # such as its port in use for a while, or a full disk
            if first:
                print(summary_of(error), flush=True)
        else:
            if first:
                events.add("NATS back", "the embedded NATS server runs again")
        since = loop.time()


async def check_reachable(access: ConnectionSettings) -> None:
    """Raises ConnectError within 5 seconds if NATS does not answer."""
    from dynamo_nb.runtime.distributed_runtime import DistributedRuntime

    runtime = await DistributedRuntime.connect(**vars(access))
    await runtime.close()
