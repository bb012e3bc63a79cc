"""The distributed runtime of one process: its connections to NATS, to workers, and from callers."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from dynamo_nb.errors import ConnectError, DefinitionError
from dynamo_nb.runtime.component import Endpoint, Namespace, checked_name
from dynamo_nb.runtime.connection_settings import ConnectionSettings
from dynamo_nb.runtime.discovery import Discovery
from dynamo_nb.runtime.handshake import key_of
from dynamo_nb.runtime.instance import Instance
from dynamo_nb.runtime.meters import Meters, Reading, total
from dynamo_nb.runtime.nats_connection import connect_nats, reachable_address
from dynamo_nb.runtime.pool import ConnectionPool
from dynamo_nb.runtime.registration import Registration
from dynamo_nb.runtime.request import Handler
from dynamo_nb.runtime.server import Server
from dynamo_nb.runtime.tracing import TRACING
from dynamo_nb.sdk.portal import portal

CLOSE_TIMEOUT: Final = 2.0  # seconds for NATS to accept the last messages
ANY_ADDRESS: Final = ("0.0.0.0", "::", "")  # noqa: S104


class DistributedRuntime:
    """One process's part in a distributed system: it serves components, calls those of others, or both.

    Create it with `DistributedRuntime.connect`.

    Attributes:
        instance_id: Unique number of this runtime.
        worker_id: Name of this worker in its deployment.
        access: Settings to connect to other processes.
        loop: The event loop on which the runtime lives.
        nats: The connected client of NATS.
        discovery: The instances that are registered, and this process's own registrations.
        connections: The connections to workers.
        server: Accepts connections from callers.
        meters: The meters of called endpoints.
        closed: Set when the runtime has been closed.

    Example:
        A client of one endpoint::

            runtime = await DistributedRuntime.connect("nats://localhost:4222")
            endpoint = runtime.namespace("hello").component("Backend").endpoint("generate")
            client = await endpoint.client()
    """

    def __init__(
        self, access: ConnectionSettings, socket_dir: Path | None, host: str | None, lease: float, worker_id: str
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.instance_id = secrets.randbits(48)  # exact in JSON readers whose only numbers are doubles
        self.worker_id = worker_id or f"{self.instance_id:x}"
        self.lease = lease
        self.graph = self.version = ""
        self.shared = False
        self.own: frozenset[str] = frozenset()
        self.capacity: dict[str, Any] = {}
        self.nats: Any = None
        self.closed = asyncio.Event()
        self.meters = Meters()
        key = key_of(access.shared_secret)
        self.server = Server(self.instance_id, self.worker_id, key, access.for_workers())
        self.discovery: Discovery
        self.connections = ConnectionPool(key, access.plane, access.for_callers(), self._lost)
        self.access, self._socket_dir, self._host = access, socket_dir, host
        self._advertised_host: str | None = None
        self._listening: asyncio.Task[None] | None = None
        self._registering = asyncio.Lock()
        self._portal_runtime: asyncio.Task[DistributedRuntime] | None = None

    @classmethod
    async def connect(
        cls,
        nats_url: str,
        *,
        socket_dir: Path | None = None,
        host: str | None = None,
        lease: float = 3.0,
        graph: str = "",
        shared: bool = False,
        own: Iterable[str] = (),
        version: str = "",
        capacity: Mapping[str, Any] | None = None,
        worker_id: str = "",
        **access: Any,
    ) -> DistributedRuntime:
        """Connects to NATS, which must have JetStream enabled.

        Args:
            nats_url: URL of NATS; of a cluster several URLs, separated by commas.
            socket_dir: Folder for the Unix socket of this process, if it serves.
            host: Address on which this process listens for TCP, if it serves. Without `socket_dir` and `host` it
                listens on the loopback.
            lease: Seconds without a heartbeat after which the instances of this process count as gone.
            graph: Id of the deployment, registered with the instances.
            shared: True if other deployments may call the instances.
            own: Components, as `namespace/name`, of which the deployment `graph` has instances. Clients of this
                runtime call only those instances of them, and shared ones, so that several deployments of one graph
                can use one namespace. Of all other components, clients call every instance.
            version: Fingerprint of code and configuration, registered with the instances.
            capacity: Resources of this worker, registered with the instances.
            worker_id: Name of this worker in its deployment.
            **access: Other fields of `ConnectionSettings`, such as `secret`, `plane` and `tls`.

        Returns:
            The connected runtime. Close it with `close`.

        Raises:
            ConnectError: NATS does not answer within 5 s, or refuses the credentials.
        """
        TRACING.detect()
        runtime = cls(ConnectionSettings(nats_url, **access), socket_dir, host, lease, worker_id)
        runtime.graph, runtime.version, runtime.capacity = graph, version, dict(capacity or {})
        runtime.shared, runtime.own = shared, frozenset(own)
        runtime.nats = await connect_nats(runtime.access, runtime._reconnected)
        runtime.connections.nats = runtime.nats
        runtime.discovery = Discovery(runtime.nats, lease)
        return runtime

    # --- names

    def namespace(self, name: str) -> Namespace:
        """Returns a namespace.

        Args:
            name: Name of the namespace.

        Raises:
            DefinitionError: The name is empty or contains a slash.
        """
        return Namespace(self, name)

    def endpoint(self, address: str) -> Endpoint:
        """Returns the endpoint with an address.

        Args:
            address: `dynamo://namespace/component/endpoint`, or upstream's `namespace.component.endpoint`.

        Raises:
            DefinitionError: The text is not such an address.
        """
        path = address.removeprefix("dynamo://")
        parts = path.split("/") if "/" in path else path.split(".")
        if len(parts) != 3:
            raise DefinitionError(
                f"{address!r} is not the address of an endpoint", remedy="write namespace.component.endpoint"
            )
        return self.namespace(parts[0]).component(parts[1]).endpoint(parts[2])

    # --- serving

    async def listen(self) -> None:
        """Starts to listen for callers; further calls do nothing."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        await asyncio.shield(self._listening)

    async def _listen(self) -> None:
        if self.access.plane == "nats":
            await self.server.listen_on_nats(self.nats, self.lease)
            return
        host = self._host if self._host is not None or self._socket_dir is not None else "127.0.0.1"
        await self.server.listen(self._socket_dir, host)
        self._advertised_host = reachable_address(self.access.nats_url) if host in ANY_ADDRESS else host

    def instance(
        self,
        namespace: str,
        component: str,
        endpoints: tuple[str, ...],
        info: dict[str, Any],
        once: tuple[str, ...] = (),
    ) -> Instance:
        """Returns the instance of a component that this process can register.

        Args:
            namespace: Namespace of the component.
            component: Name of the component.
            endpoints: Names of the endpoints.
            info: Plain data for each endpoint.
            once: Endpoints that must not receive the same request twice.
        """
        return Instance(
            instance_id=self.instance_id,
            worker_id=self.worker_id,
            namespace=namespace,
            component=component,
            endpoints=endpoints,
            info=info,
            once=once,
            lease=self.lease,
            socket=self.server.socket,
            host=self._advertised_host,
            port=self.server.port,
            tls=bool(self.access.tls),
            subject=self.server.subject,
            graph=self.graph,
            shared=self.shared,
            version=self.version,
            capacity=self.capacity,
        )

    async def serve_endpoints(
        self,
        namespace: str,
        component: str,
        handlers: Mapping[str, Handler],
        info: Mapping[str, Any],
        once: Iterable[str],
    ) -> Registration:
        """Serves endpoints of a component; `Component.serve` calls it.

        Args:
            namespace: Namespace of the component.
            component: Name of the component.
            handlers: Handlers by name of the endpoint.
            info: Plain data for each endpoint.
            once: Endpoints that must not receive the same request twice.

        Returns:
            The registration of the instance.

        Raises:
            ConnectError: NATS does not accept the registration.
        """
        await self.listen()
        for name, handler in handlers.items():
            path = f"{namespace}/{component}/{checked_name(name)}"
            self.server.handlers[path], _ = handler, self.server.meters[path]
        async with self._registering:
            registration = self.discovery.registration(namespace, component)
            old = registration.instance if registration is not None else None
            instance = self.instance(
                namespace,
                component,
                tuple(dict.fromkeys([*(old.endpoints if old else ()), *handlers])),
                {**(old.info if old else {}), **info},
                tuple(dict.fromkeys([*(old.once if old else ()), *once])),
            )
            if registration is None:
                return await self.discovery.register(instance)
            await registration.update(instance)
            return registration

    # --- calling: what a ClientContext has

    @property
    def nats_address(self) -> str:
        """The URL of NATS without credentials."""
        return self.access.nats_address

    def may_call(self, instance: Instance) -> bool:
        """Returns True if clients of this runtime may call an instance; see `own` of `connect`.

        Args:
            instance: The instance.
        """
        restricted = f"{instance.namespace}/{instance.component}" in self.own
        return not restricted or instance.shared or instance.graph == self.graph

    async def on_portal(self) -> DistributedRuntime:
        """Returns an equivalent runtime on the portal's loop, for calls without `await`. Call it on that loop."""
        if self.loop is portal.loop:
            return self
        if self._portal_runtime is None:
            connecting = DistributedRuntime.connect(
                **vars(self.access), lease=self.lease, graph=self.graph, own=self.own
            )
            self._portal_runtime = asyncio.create_task(connecting)
        task = self._portal_runtime
        try:
            return await asyncio.shield(task)
        except ConnectError:
            self._portal_runtime = None if self._portal_runtime is task else self._portal_runtime
            raise

    def _lost(self, instance: Instance) -> None:
        self.discovery.suspect(instance)

    async def _reconnected(self) -> None:
        self.discovery.reconnected()

    # --- measurement

    def measured(self) -> dict[str, Reading]:
        """Returns what was counted of the requests that this process `served` and `called`, by path.

        Safe from any thread.
        """
        readings = [self.meters.read()]
        task = self._portal_runtime
        if task is not None and task.done() and not task.cancelled() and not task.exception():
            readings.append(task.result().meters.read())
        return {"served": self.server.meters.read(), "called": total(readings)}

    # --- the end

    async def drain(self, timeout: float | None = None) -> None:
        """Deregisters, rejects new requests, and waits until the open ones have ended.

        Args:
            timeout: Seconds to wait, or None to wait without limit.

        Raises:
            TimeoutError: Requests are still open after `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            await self.discovery.withdraw()
            await self.server.drain()

    async def close(self) -> None:
        """Deregisters, cancels open requests, and closes every connection."""
        if self.closed.is_set():
            return
        self.closed.set()
        if self._portal_runtime is not None:
            task = self._portal_runtime

            async def close_portal_runtime() -> None:
                if task.done() and not task.cancelled() and not task.exception():
                    await task.result().close()

            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(close_portal_runtime(), portal.loop))
        await self.discovery.close()
        await self.connections.close()
        await self.server.close()
        closing = asyncio.create_task(self.nats.close())
        await asyncio.wait([closing], timeout=CLOSE_TIMEOUT)
