"""The JetStream key-value bucket that holds the instances of all deployments on one NATS."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from dynamo_nb.runtime.nats_connection import RECONNECT_WAIT

BUCKET: Final = "dynamo_instances"
SUBJECT_PREFIX: Final = f"$KV.{BUCKET}."  # the subject of an entry is this and its key
REPLICAS: Final = 3  # servers of a cluster that hold the bucket
ELECTION: Final = 10.0  # seconds that a cluster may need to elect a leader; it mostly takes less than 5


class Bucket:
    """The bucket of instances. The first process creates it, and any process creates it again if NATS lost it.

    Args:
        nats: A connected client of NATS.
        lease: Seconds that an entry must outlive; the bucket keeps the longest lease of its users.
    """

    def __init__(self, nats: Any, lease: float) -> None:
        self.nats, self.lease = nats, lease
        self._jetstream = nats.jetstream(timeout=max(lease, 1.0))
        self._bucket: Any = None

    @property
    def clustered(self) -> bool:
        """True if NATS is a cluster of several servers."""
        return bool(self.nats._server_info.get("cluster"))

    async def open(self) -> Any:
        """Returns the key-value bucket. A cluster keeps copies of it, so that any one server may fail."""
        from nats.js.api import StorageType
        from nats.js.errors import APIError, NotFoundError

        if self._bucket is not None:
            return self._bucket
        replicas = REPLICAS if self.clustered else 1
        options = {"bucket": BUCKET, "ttl": self.lease, "storage": StorageType.MEMORY}
        try:
            self._bucket = await self._jetstream.create_key_value(**options, replicas=replicas)
        except APIError:
            try:
                config = (await self._jetstream.stream_info(f"KV_{BUCKET}")).config
            except NotFoundError:
                if replicas == 1:
                    raise
                # The cluster has fewer servers.
                self._bucket = await self._jetstream.create_key_value(**options)
                return self._bucket
            # The bucket exists: with another lease, or from a time when the cluster had fewer servers.
            if config.max_age < self.lease or config.num_replicas < replicas:
                config.max_age = max(config.max_age, self.lease)
                config.num_replicas = max(config.num_replicas, replicas)
                try:
                    await self._jetstream.update_stream(config)
                except APIError:
                    config.num_replicas = 1
                    await self._jetstream.update_stream(config)
            self._bucket = await self._jetstream.key_value(BUCKET)
        return self._bucket

    async def put(self, key: str, value: bytes) -> None:
        """Writes one entry."""
        from nats.js.errors import NoStreamResponseError

        try:
            await (await self.open()).put(key, value)
        except NoStreamResponseError:  # NATS restarted and lost its memory
            self._bucket = None
            await (await self.open()).put(key, value)

    async def delete(self, key: str) -> None:
        """Deletes one entry. Watchers see the deletion at once."""
        await (await self.open()).delete(key)

    async def read(self, keys: str) -> dict[str, bytes]:
        """Returns the entries whose keys match a pattern. Waits while a cluster elects its leader."""
        from nats.errors import Error

        loop = asyncio.get_running_loop()
        deadline = loop.time() + ELECTION
        while True:
            try:
                return await self._read(keys)
            except (Error, TimeoutError):
                if not self.clustered or loop.time() > deadline:
                    raise
                self._bucket = None
                await asyncio.sleep(RECONNECT_WAIT)

    async def _read(self, keys: str) -> dict[str, bytes]:
        """Reads key by key.

        The first pass of nats-py's `watch` (2.16) sometimes ends before the entries arrive, because the answer about
        its consumer can overtake them.
        """
        from nats.js.errors import KeyNotFoundError

        bucket = await self.open()
        info = await self._jetstream.stream_info(f"KV_{BUCKET}", subjects_filter=SUBJECT_PREFIX + keys)

        async def read(key: str) -> tuple[str, bytes] | None:
            try:
                return key, (await bucket.get(key)).value
            except KeyNotFoundError:
                return None

        entries = await asyncio.gather(*(read(s.removeprefix(SUBJECT_PREFIX)) for s in info.state.subjects or ()))
        return dict(entry for entry in entries if entry)
