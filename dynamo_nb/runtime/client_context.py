"""The interface of a runtime for the clients in its process."""

from __future__ import annotations

import asyncio
from typing import Protocol

from dynamo_nb.runtime.discovery import Discovery
from dynamo_nb.runtime.instance import Instance
from dynamo_nb.runtime.meters import Meters
from dynamo_nb.runtime.pool import ConnectionPool


class ClientContext(Protocol):
    """The interface of a runtime for the clients in its process; `DistributedRuntime` implements it.

    Attributes:
        loop: The event loop on which connections live.
        discovery: The instances that are registered.
        connections: The connections to workers, shared by all clients.
        meters: The meters of called endpoints.
    """

    loop: asyncio.AbstractEventLoop
    discovery: Discovery
    connections: ConnectionPool
    meters: Meters

    @property
    def nats_address(self) -> str:
        """The URL of NATS without credentials."""
        ...

    def may_call(self, instance: Instance) -> bool:
        """Returns True if clients of this process may call the instance."""
        ...

    async def on_portal(self) -> ClientContext:
        """Returns the context of the portal's loop. Must be called on that loop."""
        ...
