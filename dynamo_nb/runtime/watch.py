"""The instances of one component, as this process sees them.

A watch is a plain subscription to the subjects of the bucket, plus one read of the bucket's content. NATS restores the
subscription when it reconnects, and heartbeats fill in what was missed, even if NATS restarted empty.

An instance without a heartbeat for its lease is removed, but only while NATS itself answers: without NATS, missing
heartbeats say nothing about the workers, and clients with connections continue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec

from dynamo_nb.runtime.bucket import BUCKET, SUBJECT_PREFIX, Bucket
from dynamo_nb.runtime.cancellation import cancel_and_wait
from dynamo_nb.runtime.instance import Instance, key_prefix
from dynamo_nb.runtime.nats_connection import RECONNECT_WAIT

SWEEPS: Final = 4  # checks for expired instances in one lease

logger = logging.getLogger(__name__)


class Watch:
    """The instances of one component.

    Attributes:
        instances: The instances, in order of first sight. Replaced when they change.
        version: Number of changes so far.
    """

    def __init__(self, bucket: Bucket, namespace: str, component: str) -> None:
        self.namespace, self.component = namespace, component
        self.instances: tuple[Instance, ...] = ()
        self.version = 0
        self._bucket = bucket
        self._known: dict[str, tuple[Instance, bytes, float]] = {}  # by key: instance, its bytes, when it expires
        self._suspects: set[str] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self._subscription: Any = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Subscribes to changes and reads the instances that are registered now."""
        keys = f"{key_prefix(self.namespace, self.component)}*"
        seen: set[str] = set()

        async def receive(message: Any) -> None:
            key = message.subject.removeprefix(SUBJECT_PREFIX)
            seen.add(key)
            if message.headers and "KV-Operation" in message.headers:
                self._remove(key)
            else:
                self._put(key, message.data)

        self._subscription = await self._bucket.nats.subscribe(SUBJECT_PREFIX + keys, cb=receive)
        # A message of the subscription is newer than the content that was read from the bucket.
        for key, value in (await self._bucket.read(keys)).items():
            if key not in seen:
                self._put(key, value)
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Ends the subscription."""
        if self._sweeper is not None:
            await cancel_and_wait(self._sweeper)
        if self._subscription is not None and self._bucket.nats.is_connected:
            await self._subscription.unsubscribe()

    def _put(self, key: str, value: bytes) -> None:
        now = asyncio.get_running_loop().time()
        if key in self._suspects:
            # This message may be older than the lost connection; the next heartbeat is not.
            self._suspects.discard(key)
            return
        old = self._known.get(key)
        if old is not None and old[1] == value:
            self._known[key] = (old[0], value, now + old[0].lease)
            return
        try:
            instance = msgspec.json.decode(value, type=Instance)
        except msgspec.MsgspecError as error:
            logger.warning("the entry %s of bucket %s is not an instance: %s", key, BUCKET, error)
            return
        self._known[key] = (instance, value, now + instance.lease)
        self._notify()

    def _remove(self, key: str) -> None:
        self._suspects.discard(key)
        if self._known.pop(key, None) is not None:
            self._notify()

    def suspect(self, instance: Instance) -> None:
        """Removes an instance whose connection was lost or refused, until further heartbeats arrive."""
        if instance.key in self._known:
            self._remove(instance.key)
            self._suspects.add(instance.key)

    def extend(self) -> None:
        """Renews the lease of every instance, after a time in which no heartbeat could arrive."""
        now = asyncio.get_running_loop().time()
        for key, (instance, value, _) in self._known.items():
            self._known[key] = (instance, value, now + instance.lease + RECONNECT_WAIT)

    def _expired(self) -> list[str]:
        now = asyncio.get_running_loop().time()
        return [key for key, (_, _, expiry) in self._known.items() if expiry <= now]

    async def _sweep(self) -> None:
        while True:
            leases = [instance.lease for instance, _, _ in self._known.values()]
            await asyncio.sleep(min([self._bucket.lease, *leases]) / SWEEPS)
            if not self._expired():
                continue
            if not await self._nats_answers():
                self.extend()
                continue
            for key in self._expired():
                logger.info("%s sent no heartbeat for its lease", key)
                self._remove(key)

    async def _nats_answers(self) -> bool:
        """Returns True if NATS answers a flush. All messages it sent earlier have then been processed."""
        nats = self._bucket.nats
        if not nats.is_connected:
            return False
        try:
            await nats.flush(timeout=self._bucket.lease)
            await asyncio.sleep(0)
        except Exception:
            return False
        # flush does not fail when it finds the connection lost.
        return bool(nats.is_connected)

    def _notify(self) -> None:
        self.instances = tuple(instance for instance, _, _ in self._known.values())
        self.version += 1
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def changed(self) -> None:
        """Waits for the next change."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until the condition holds. It is evaluated now and after each change."""
        while not condition():
            await self.changed()
