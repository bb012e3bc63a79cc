"""Who serves what: workers write themselves into a JetStream key-value bucket, clients watch it.

One key stands for one instance, `<namespace>.<component>.<instance id>`, and is written again every third of the lease
by the worker's own event loop: a worker that hangs falls silent. A watcher drops an instance that has been silent for
its lease, but only when NATS itself answers: silence of the control plane says nothing about workers, and connected
clients go on without it.

A watch is a plain subscription to the subjects of the bucket, and one reading of what the bucket holds. NATS restores
the subscription when it reconnects, and the heartbeats fill in what was missed, even where NATS restarted empty.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from dynamo_nb.errors import ConnectError
from dynamo_nb.runtime.cancellation import ended

BUCKET: Final = "dynamo_instances"
BEATS: Final = 3  # heartbeats in one lease: two may be lost
SWEEPS: Final = 4  # looks at the deadlines in one lease
RECONNECT_WAIT: Final = 0.25  # seconds between attempts to reach NATS again, which workers and watchers make apart
REPLICAS: Final = 3  # servers of a cluster that hold the bucket
ELECTION: Final = 10.0  # seconds that a cluster may need to agree on a leader; it mostly takes less than 5

logger = logging.getLogger(__name__)


def _host_id() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text().strip() if boot.exists() else f"{uuid.getnode():x}"


HOST_ID: Final = _host_id()


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's registration of one component's endpoints.

    info: the JSON schemas of each endpoint (`input`, `output`), or other plain data. capacity: what the worker has to
    serve with (`gpus`, `cpu`, `memory`). once: the endpoints that must not get one request twice.
    tls: whether its TCP port is encrypted. socket: path of its Unix socket, for clients with the same host_id.
    subject: where it takes connections over NATS.
    lease: seconds of silence after which it counts as gone. graph: the id of its deployment. shared: whether other
    deployments, which serve this component too, may call it.
    """

    instance_id: int
    worker_id: str
    namespace: str
    component: str
    endpoints: tuple[str, ...]
    lease: float
    host_id: str = HOST_ID
    socket: str | None = None
    host: str | None = None
    port: int | None = None
    tls: bool = False
    subject: str | None = None
    graph: str = ""
    shared: bool = False
    version: str = ""
    info: dict[str, Any] = {}
    capacity: dict[str, Any] = {}
    once: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        return f"dynamo://{self.namespace}/{self.component}"

    @property
    def key(self) -> str:
        return f"{token(self.namespace)}.{token(self.component)}.{self.instance_id}"


def token(name: str) -> str:
    """The name as one token of a NATS subject; characters that may not stand there become `=` and hexadecimal."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda m: "".join(f"={byte:02x}" for byte in m[0].encode()), name)


class Bucket:
    """The key-value bucket of instances. Whoever comes first makes it, and makes it again when NATS has lost it."""

    def __init__(self, nats: Any, lease: float) -> None:
        self.nats, self.lease = nats, lease
        self._js = nats.jetstream(timeout=max(lease, 1.0))
        self._kv: Any = None

    @property
    def clustered(self) -> bool:
        return bool(self.nats._server_info.get("cluster"))

    async def open(self) -> Any:
        """The bucket; its entries outlive the longest lease of those who use it, and any one server of a cluster."""
        from nats.js.api import StorageType
        from nats.js.errors import APIError, NotFoundError

        if self._kv is not None:
            return self._kv
        replicas = REPLICAS if self.clustered else 1
        options = {"bucket": BUCKET, "ttl": self.lease, "storage": StorageType.MEMORY}
        try:
            self._kv = await self._js.create_key_value(**options, replicas=replicas)
        except APIError:
            try:
                config = (await self._js.stream_info(f"KV_{BUCKET}")).config
            except NotFoundError:
                if replicas == 1:
                    raise
                self._kv = await self._js.create_key_value(**options)  # the cluster has fewer servers
                return self._kv
            # It exists, with another lease, or from when the cluster had fewer servers.
            if config.max_age < self.lease or config.num_replicas < replicas:
                config.max_age, config.num_replicas = (
                    max(config.max_age, self.lease),
                    max(config.num_replicas, replicas),
                )
                try:
                    await self._js.update_stream(config)
                except APIError:
                    config.num_replicas = 1
                    await self._js.update_stream(config)
            self._kv = await self._js.key_value(BUCKET)
        return self._kv

    async def put(self, key: str, value: bytes) -> None:
        from nats.js.errors import NoStreamResponseError

        try:
            await (await self.open()).put(key, value)
        except NoStreamResponseError:  # NATS came back without its memory
            self._kv = None
            await (await self.open()).put(key, value)

    async def delete(self, key: str) -> None:
        await (await self.open()).delete(key)

    async def read(self, keys: str) -> dict[str, bytes]:
        """What the bucket holds under a pattern of keys. Waits while a cluster elects who leads it."""
        from nats.errors import Error

        give_up = asyncio.get_running_loop().time() + ELECTION
        while True:
            try:
                return await self._read(keys)
            except (Error, TimeoutError):
                if not self.clustered or asyncio.get_running_loop().time() > give_up:
                    raise
                self._kv = None
                await asyncio.sleep(RECONNECT_WAIT)

    async def _read(self, keys: str) -> dict[str, bytes]:
        """What the bucket holds now.

        It is asked for key by key: the first look of nats-py's `watch` (2.16) now and then ends before the entries
        have come, since the answer about its consumer may overtake them.
        """
        from nats.js.errors import KeyNotFoundError

        kv, prefix = await self.open(), f"$KV.{BUCKET}."
        info = await self._js.stream_info(f"KV_{BUCKET}", subjects_filter=prefix + keys)

        async def read(key: str) -> tuple[str, bytes] | None:
            try:
                return key, (await kv.get(key)).value
            except KeyNotFoundError:
                return None

        found = await asyncio.gather(*(read(s.removeprefix(prefix)) for s in info.state.subjects or ()))
        return dict(entry for entry in found if entry)


class Registration:
    """One instance in the bucket, kept there by heartbeats until it is withdrawn."""

    def __init__(self, bucket: Bucket, instance: Instance) -> None:
        self._bucket, self.instance = bucket, instance
        self._beat_now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Writes the instance, and goes on writing. Raises ConnectError when NATS does not take it."""
        await self.update(self.instance)
        self._task = asyncio.create_task(self._beat())

    async def update(self, instance: Instance) -> None:
        """Replaces what is registered under this key. Raises ConnectError when NATS does not take it."""
        self.instance = instance
        try:
            await self._write()
        except Exception as error:
            raise ConnectError(
                f"NATS did not take the registration: {error or type(error).__name__}",
                where=instance.address,
                remedy="check that NATS is up and JetStream enabled (`nats-server -js`)",
            ) from error

    def beat_now(self) -> None:
        self._beat_now.set()

    async def _write(self) -> None:
        await self._bucket.put(self.instance.key, msgspec.json.encode(self.instance))

    async def _beat(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.instance.lease / BEATS):
                    await self._beat_now.wait()
            self._beat_now.clear()
            try:
                await self._write()
            except Exception as error:  # without NATS requests go on; the next heartbeat tries again
                logger.debug("heartbeat of %s failed: %s", self.instance.key, error)

    async def withdraw(self) -> None:
        """Takes the instance out of the bucket, so that clients turn to others at once."""
        if self._task is None:
            return
        await ended(self._task)
        self._task = None
        if self._bucket.nats.is_connected:
            try:
                await self._bucket.delete(self.instance.key)
            except Exception as error:
                logger.warning("could not deregister %s: %s", self.instance.key, error)


class Watch:
    """The instances of one component, as far as this process knows.

    `instances` is a tuple in order of first sight, replaced when it changes; `version` counts the changes.
    """

    def __init__(self, bucket: Bucket, namespace: str, component: str) -> None:
        self.namespace, self.component = namespace, component
        self.instances: tuple[Instance, ...] = ()
        self.version = 0
        self._bucket = bucket
        self._known: dict[str, tuple[Instance, bytes, float]] = {}
        self._doubted: set[str] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self._subscription: Any = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        keys = f"{token(self.namespace)}.{token(self.component)}.*"
        prefix = f"$KV.{BUCKET}."
        seen: set[str] = set()

        async def heard(message: Any) -> None:
            key = message.subject.removeprefix(prefix)
            seen.add(key)
            if message.headers and "KV-Operation" in message.headers:
                self._remove(key)
            else:
                self._put(key, message.data)

        self._subscription = await self._bucket.nats.subscribe(prefix + keys, cb=heard)
        # What the subscription brings is newer than what the bucket held when it was read.
        for key, value in (await self._bucket.read(keys)).items():
            if key not in seen:
                self._put(key, value)
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        if self._sweeper is not None:
            await ended(self._sweeper)
        if self._subscription is not None and self._bucket.nats.is_connected:
            await self._subscription.unsubscribe()

    def _put(self, key: str, value: bytes) -> None:
        now = asyncio.get_running_loop().time()
        if key in self._doubted:
            # Written before the connection was lost, perhaps; the heartbeat after it will tell.
            self._doubted.discard(key)
            return
        old = self._known.get(key)
        if old is not None and old[1] == value:
            self._known[key] = (old[0], value, now + old[0].lease)
            return
        try:
            instance = msgspec.json.decode(value, type=Instance)
        except msgspec.MsgspecError as error:
            logger.warning("the entry %s of bucket %s is no instance: %s", key, BUCKET, error)
            return
        self._known[key] = (instance, value, now + instance.lease)
        self._changed()

    def _remove(self, key: str) -> None:
        self._doubted.discard(key)
        if self._known.pop(key, None) is not None:
            self._changed()

    def doubt(self, instance: Instance) -> None:
        """Takes the instance out until it is heard again: its connection was lost or refused."""
        if instance.key in self._known:
            self._remove(instance.key)
            self._doubted.add(instance.key)

    def extend(self) -> None:
        """Gives every instance its lease anew: until now nobody could be heard."""
        now = asyncio.get_running_loop().time()
        for key, (instance, value, _) in self._known.items():
            self._known[key] = (instance, value, now + instance.lease + RECONNECT_WAIT)

    def _overdue(self) -> list[str]:
        now = asyncio.get_running_loop().time()
        return [key for key, (_, _, deadline) in self._known.items() if deadline <= now]

    async def _sweep(self) -> None:
        while True:
            leases = [instance.lease for instance, _, _ in self._known.values()]
            await asyncio.sleep(min([self._bucket.lease, *leases]) / SWEEPS)
            if not self._overdue():
                continue
            if not await self._nats_answers():
                self.extend()
                continue
            for key in self._overdue():
                logger.info("%s was silent for its lease", key)
                self._remove(key)

    async def _nats_answers(self) -> bool:
        """Whether NATS is there. What it sent before has then been heard, also where this loop was blocked a while."""
        nats = self._bucket.nats
        if not nats.is_connected:
            return False
        try:
            await nats.flush(timeout=self._bucket.lease)
            await asyncio.sleep(0)
        except Exception:
            return False
        # flush does not fail when the connection is found to be lost.
        return bool(nats.is_connected)

    def _changed(self) -> None:
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
        while not condition():
            await self.changed()


class Directory:
    """The watches of one process, one for each component, and its registrations."""

    def __init__(self, nats: Any, lease: float) -> None:
        self.bucket = Bucket(nats, lease)
        self._watches: dict[tuple[str, str], asyncio.Task[Watch]] = {}
        self._registrations: list[Registration] = []

    async def watch(self, namespace: str, component: str) -> Watch:
        key = namespace, component
        if key not in self._watches or self._watches[key].cancelled():
            self._watches[key] = asyncio.create_task(self._start(namespace, component))
        try:
            return await asyncio.shield(self._watches[key])
        except Exception as error:
            self._watches.pop(key, None)
            raise ConnectError(
                f"NATS does not tell who serves dynamo://{namespace}/{component}: {error or type(error).__name__}",
                remedy="check that NATS is up and JetStream enabled (`nats-server -js`)",
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
        registration = Registration(self.bucket, instance)
        await registration.start()
        self._registrations.append(registration)
        return registration

    def registration(self, namespace: str, component: str) -> Registration | None:
        for registration in self._registrations:
            instance = registration.instance
            if (instance.namespace, instance.component) == (namespace, component):
                return registration
        return None

    async def withdraw(self) -> None:
        """Takes all instances of this process out."""
        registrations, self._registrations = self._registrations, []
        await asyncio.gather(*(registration.withdraw() for registration in registrations))

    def doubt(self, instance: Instance) -> None:
        for watch in self._started():
            watch.doubt(instance)

    def reconnected(self) -> None:
        for registration in self._registrations:
            registration.beat_now()
        for watch in self._started():
            watch.extend()

    def _started(self) -> list[Watch]:
        tasks = self._watches.values()
        return [task.result() for task in tasks if task.done() and not task.cancelled() and not task.exception()]

    async def close(self) -> None:
        await self.withdraw()
        for task in self._watches.values():
            task.cancel()
        for watch in self._started():
            await watch.stop()
        self._watches.clear()
