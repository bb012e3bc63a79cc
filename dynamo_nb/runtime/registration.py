"""The registration of one instance: an entry in the bucket, renewed by heartbeats."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

import msgspec

from dynamo_nb.errors import ConnectError
from dynamo_nb.runtime.bucket import Bucket
from dynamo_nb.runtime.cancellation import cancel_and_wait
from dynamo_nb.runtime.instance import Instance

HEARTBEATS: Final = 3  # in one lease: two may be lost

logger = logging.getLogger(__name__)


class Registration:
    """One instance in the bucket, renewed until it is withdrawn.

    The heartbeats run on the worker's own event loop, so that a worker whose loop is blocked stops sending them.
    """

    def __init__(self, bucket: Bucket, instance: Instance) -> None:
        self._bucket, self.instance = bucket, instance
        self._renew = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Writes the instance and starts its heartbeats. Raises ConnectError if NATS does not accept it."""
        await self.update(self.instance)
        self._task = asyncio.create_task(self._heartbeat())

    async def update(self, instance: Instance) -> None:
        """Replaces the registered instance. Raises ConnectError if NATS does not accept it."""
        self.instance = instance
        try:
            await self._write()
        except Exception as error:
            raise ConnectError(
                f"NATS did not accept the registration: {error or type(error).__name__}",
                where=instance.address,
                remedy="check that NATS is running with JetStream enabled (`nats-server -js`)",
            ) from error

    @property
    def is_lost(self) -> bool:
        """True if its heartbeats have ended, as when code of the user cancels all tasks of the loop."""
        return self._task is not None and self._task.done()

    def renew(self) -> None:
        """Sends the next heartbeat now."""
        self._renew.set()

    async def _write(self) -> None:
        await self._bucket.put(self.instance.key, msgspec.json.encode(self.instance))

    async def _heartbeat(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.instance.lease / HEARTBEATS):
                    await self._renew.wait()
            self._renew.clear()
            try:
                await self._write()
            except Exception as error:  # requests continue without NATS; the next heartbeat tries again
                logger.debug("heartbeat of %s failed: %s", self.instance.key, error)

    async def withdraw(self) -> None:
        """Deletes the instance from the bucket, so that clients choose other instances at once."""
        if self._task is None:
            return
        await cancel_and_wait(self._task)
        self._task = None
        if self._bucket.nats.is_connected:
            try:
                await self._bucket.delete(self.instance.key)
            except Exception as error:
                logger.warning("could not deregister %s: %s", self.instance.key, error)
