"""Discovery: workers register their instances in a bucket of NATS, and clients watch it.

The key of an instance is `<namespace>.<component>.<instance id>`. See `registration` for how a worker keeps its entry,
and `watch` for how a client sees it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from dynamo_nb.errors import ConnectError
from dynamo_nb.runtime.bucket import Bucket
from dynamo_nb.runtime.instance import Instance
from dynamo_nb.runtime.registration import Registration
from dynamo_nb.runtime.watch import Watch


class Discovery:
    """The watches of one process, one for each component, and its registrations.

    Args:
        nats: A connected client of NATS.
        lease: Seconds without a heartbeat after which this process's instances count as gone.
    """

    def __init__(self, nats: Any, lease: float) -> None:
        self.bucket = Bucket(nats, lease)
        self._watches: dict[tuple[str, str], asyncio.Task[Watch]] = {}
        self._registrations: list[Registration] = []

    async def watch(self, namespace: str, component: str) -> Watch:
        """Returns the watch of a component. Raises ConnectError if NATS does not list its instances."""
        key = namespace, component
        if key not in self._watches or self._watches[key].cancelled():
            self._watches[key] = asyncio.create_task(self._start(namespace, component))
        try:
            return await asyncio.shield(self._watches[key])
        except Exception as error:
            self._watches.pop(key, None)
            raise ConnectError(
                f"NATS cannot list the instances of dynamo://{namespace}/{component}: {error or type(error).__name__}",
                remedy="check that NATS is running with JetStream enabled (`nats-server -js`)",
            ) from error

    async def _start(self, namespace: str, component: str) -> Watch:
        watch = Watch(self.bucket, namespace, component)
        try:
            await watch.start()
        except BaseException:
            await watch.stop()
            raise
        return watch

    async def register(self, instance: Instance) -> Registration:
        """Registers an instance of this process. Raises ConnectError if NATS does not accept it."""
        registration = Registration(self.bucket, instance)
        await registration.start()
        self._registrations.append(registration)
        return registration

    def registration(self, namespace: str, component: str) -> Registration | None:
        """Returns this process's registration of a component, or None."""
        for registration in self._registrations:
            instance = registration.instance
            if (instance.namespace, instance.component) == (namespace, component):
                return registration
        return None

    @property
    def is_lost(self) -> bool:
        """True if the heartbeats of a registration of this process have ended, though it was not withdrawn."""
        return any(registration.is_lost for registration in self._registrations)

    async def withdraw(self) -> None:
        """Deregisters all instances of this process."""
        registrations, self._registrations = self._registrations, []
        await asyncio.gather(*(registration.withdraw() for registration in registrations))

    def suspect(self, instance: Instance) -> None:
        """Removes an instance whose connection was lost or refused, until further heartbeats arrive."""
        for watch in self._running():
            watch.suspect(instance)

    def reconnected(self) -> None:
        """Sends heartbeats at once, and renews the leases of others, after NATS was unreachable."""
        for registration in self._registrations:
            registration.renew()
        for watch in self._running():
            watch.extend()

    def _running(self) -> list[Watch]:
        tasks = self._watches.values()
        return [task.result() for task in tasks if task.done() and not task.cancelled() and not task.exception()]

    async def close(self) -> None:
        """Deregisters all instances and ends all watches."""
        await self.withdraw()
        for task in self._watches.values():
            task.cancel()
        for watch in self._running():
            await watch.stop()
        self._watches.clear()
