"""`DistributedRuntime`: one process's part in the system, and the names under it.

    runtime.namespace("hello").component("Backend").endpoint("generate")

A component serves endpoints (a worker), or an endpoint gives a client (a caller); one runtime can do both.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dynamo_nb.errors import ConnectError, DefinitionError
from dynamo_nb.runtime.cancellation import ended
from dynamo_nb.runtime.client import Client
from dynamo_nb.runtime.connection import Connections
from dynamo_nb.runtime.connection_settings import Access
from dynamo_nb.runtime.discovery import RECONNECT_WAIT, Directory, Instance, Registration
from dynamo_nb.runtime.handshake import key_of
from dynamo_nb.runtime.meters import Meters, Reading, total
from dynamo_nb.runtime.request import Handler
from dynamo_nb.runtime.routing import Policy
from dynamo_nb.runtime.server import Server
from dynamo_nb.runtime.tracing import TRACING
from dynamo_nb.sdk.portal import portal

CONNECT_TIMEOUT: Final = 5.0  # seconds for NATS to answer
CLOSE_TIMEOUT: Final = 2.0  # seconds for NATS to take the last words
PING_INTERVAL: Final = 10  # seconds; nats-py takes two that are not answered for a lost connection
ANY_ADDRESS: Final = ("0.0.0.0", "::", "")  # noqa: S104


async def connect_nats(access: Access, reconnected: Callable[[], Awaitable[None]]) -> Any:
    """A client of NATS that reconnects for ever. Raises ConnectError when none of the servers answers in time."""
    from nats.aio.client import Client as Nats

    tls = access.for_nats()
    servers = [server.strip() for server in access.nats_url.split(",")]
    errors: list[Exception] = []
    inconclusive: list[Exception] = []
    all_failed = asyncio.get_running_loop().create_future()

    async def failed(error: Exception) -> None:
        # A server that refuses a credential may reset the connection before its reason is read; the next try tells.
        inconclusive.append(error) if isinstance(error, ConnectionResetError) else errors.append(error)
        if len(errors) >= len(servers) and not all_failed.done():
            all_failed.set_result(None)

    async def ignore(error: Exception) -> None:
        """Once connected, nats-py mends itself; what it cannot mend is raised where it is called."""

    async def closed() -> None:
        # A refused credential closes the client without an error, and without ending `connect`.
        await failed(nats.last_error or ConnectionError("the connection was closed"))

    nats = Nats()
    connecting = asyncio.create_task(
        nats.connect(
            servers,
            error_cb=failed,
            closed_cb=closed,
            reconnected_cb=reconnected,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT,
            connect_timeout=CONNECT_TIMEOUT,
            ping_interval=PING_INTERVAL,
            user_credentials=access.nats_credentials or None,
            tls=tls,
        )
    )
    try:
        await asyncio.wait([connecting, all_failed], timeout=CONNECT_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        connecting.cancel()
        raise
    if connecting.done() and connecting.exception() is None:
        nats._error_cb, nats._closed_cb = ignore, None
        return nats
    await ended(connecting)
    if not connecting.cancelled() and (error := connecting.exception()):
        errors.append(error if isinstance(error, Exception) else ConnectionError(str(error)))
    nats._error_cb, nats._closed_cb = ignore, None
    with suppress(AssertionError):  # nats-py's own, where it never came to connecting
        await nats.close()
    reasons = [str(error) or type(error).__name__ for error in [*inconclusive, *errors]]
    reason = reasons[-1] if reasons else f"no answer within {CONNECT_TIMEOUT:g} s"
    raise ConnectError(
        f"NATS at {access.nats_address} does not answer: {reason}",
        where=access.nats_address,
        remedy="check the URL (--nats, NATS_SERVER) and its credential, and that the server is up",
    )


def reachable_address(nats_url: str) -> str:
    """The address of this host on the way to NATS, for others to connect to. Nothing is sent."""
    parts = urlsplit(nats_url.split(",", maxsplit=1)[0])
    family, kind, proto, _, address = socket.getaddrinfo(parts.hostname, parts.port or 4222, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, proto) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


class DistributedRuntime:
    """One process's connections: to NATS, to the workers that it calls, and from those who call it."""

    def __init__(self, access: Access, socket_dir: Path | None, host: str | None, lease: float, worker_id: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.instance_id = secrets.randbits(48)  # also a number in JSON readers that have only doubles
        self.worker_id = worker_id or f"{self.instance_id:x}"
        self.lease = lease
        self.graph = self.version = ""
        self.shared = False
        self.own: frozenset[str] = frozenset()
        self.capacity: dict[str, Any] = {}
        self.nats: Any = None
        self.closed = asyncio.Event()
        self.registering = asyncio.Lock()
        self.meters = Meters()  # of the endpoints that are called
        key = key_of(access.shared_secret)
        self.server = Server(self.instance_id, self.worker_id, key, access.for_workers())
        self.directory: Directory
        self.connections = Connections(key, access.plane, access.for_callers(), self._lost)
        self.access, self._socket_dir, self._host = access, socket_dir, host
        self._advertised: str | None = None
        self._listening: asyncio.Task[None] | None = None
        self._twin: asyncio.Task[DistributedRuntime] | None = None

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
        """Connects to NATS, with JetStream enabled; of a cluster several servers, separated by commas.

        socket_dir: where this process, if it serves, makes its Unix socket. host: the address on which it listens for
        TCP; with neither it listens on the loopback. lease: seconds of silence after which its instances count as
        gone. graph, shared, version, capacity: written beside its instances. access: the other fields of `Access`.
        own: the components, as `namespace/name`, of which `graph` has instances: of these the clients of this runtime
        use no others, except shared ones, so that several deployments of one graph can stand in one namespace of one
        NATS. All instances of any other component are used. Raises ConnectError within 5 s.
        """
        TRACING.notice()
        runtime = cls(Access(nats_url, **access), socket_dir, host, lease, worker_id)
        runtime.graph, runtime.version, runtime.capacity = graph, version, dict(capacity or {})
        runtime.shared, runtime.own = shared, frozenset(own)
        runtime.nats = await connect_nats(runtime.access, runtime._reconnected)
        runtime.connections.nats = runtime.nats
        runtime.directory = Directory(runtime.nats, lease)
        return runtime

    @property
    def nats_address(self) -> str:
        """The URL of NATS without its credential."""
        return self.access.nats_address

    def namespace(self, name: str) -> Namespace:
        return Namespace(self, name)

    def endpoint(self, address: str) -> Endpoint:
        """The endpoint at `dynamo://namespace/component/endpoint`, or upstream's `namespace.component.endpoint`."""
        path = address.removeprefix("dynamo://")
        parts = path.split("/") if "/" in path else path.split(".")
        if len(parts) != 3:
            raise DefinitionError(
                f"{address!r} is no address of an endpoint", remedy="write namespace.component.endpoint"
            )
        return self.namespace(parts[0]).component(parts[1]).endpoint(parts[2])

    async def listen(self) -> None:
        """Begins to listen, at the first call."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        await asyncio.shield(self._listening)

    async def _listen(self) -> None:
        if self.access.plane == "nats":
            await self.server.start_on_nats(self.nats, self.lease)
            return
        host = self._host if self._host is not None or self._socket_dir is not None else "127.0.0.1"
        await self.server.start(self._socket_dir, host)
        self._advertised = reachable_address(self.access.nats_url) if host in ANY_ADDRESS else host

    def instance(
        self,
        namespace: str,
        component: str,
        endpoints: tuple[str, ...],
        info: dict[str, Any],
        once: tuple[str, ...] = (),
    ) -> Instance:
        """What this process registers for a component."""
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
            host=self._advertised,
            port=self.server.port,
            tls=bool(self.access.tls),
            subject=self.server.subject,
            graph=self.graph,
            shared=self.shared,
            version=self.version,
            capacity=self.capacity,
        )

    async def on_portal(self) -> DistributedRuntime:
        """The like of this runtime on the portal's loop (on which this must be called), for calls without `await`."""
        if self.loop is portal.loop:
            return self
        if self._twin is None:
            connecting = DistributedRuntime.connect(
                **vars(self.access), lease=self.lease, graph=self.graph, own=self.own
            )
            self._twin = asyncio.create_task(connecting)
        twin = self._twin
        try:
            return await asyncio.shield(twin)
        except ConnectError:
            self._twin = None if self._twin is twin else self._twin
            raise

    def uses(self, instance: Instance) -> bool:
        """Whether clients of this runtime call the instance."""
        apart = f"{instance.namespace}/{instance.component}" in self.own
        return not apart or instance.shared or instance.graph == self.graph

    def measured(self) -> dict[str, Reading]:
        """What was counted of the requests that this process `served` and `called`, by path. From any thread."""
        twin = self._twin
        there = twin is not None and twin.done() and not twin.cancelled() and not twin.exception()
        called = [self.meters.read(), *([twin.result().meters.read()] if twin is not None and there else [])]
        return {"served": self.server.meters.read(), "called": total(called)}

    def _lost(self, instance: Instance) -> None:
        self.directory.doubt(instance)

    async def _reconnected(self) -> None:
        self.directory.reconnected()

    async def drain(self, timeout: float | None = None) -> None:
        """Deregisters, sends new requests elsewhere, and waits for those in hand; TimeoutError after `timeout` s."""
        async with asyncio.timeout(timeout):
            await self.directory.withdraw()
            await self.server.drain()

    async def close(self) -> None:
        """Deregisters, cancels what is running, and closes every connection."""
        if self.closed.is_set():
            return
        self.closed.set()
        if self._twin is not None:
            twin = self._twin

            async def close_twin() -> None:
                if twin.done() and not twin.cancelled() and not twin.exception():
                    await twin.result().close()

            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(close_twin(), portal.loop))
        await self.directory.close()
        await self.connections.close()
        await self.server.close()
        closing = asyncio.create_task(self.nats.close())
        await asyncio.wait([closing], timeout=CLOSE_TIMEOUT)


class Namespace:
    """A name under which components stand."""

    def __init__(self, runtime: DistributedRuntime, name: str) -> None:
        self.runtime, self.name = runtime, checked(name)

    def component(self, name: str) -> Component:
        return Component(self.runtime, self.name, name)


class Component:
    """A service's place: what its workers register, and its clients watch."""

    def __init__(self, runtime: DistributedRuntime, namespace: str, name: str) -> None:
        self.runtime, self.namespace, self.name = runtime, namespace, checked(name)

    def endpoint(self, name: str) -> Endpoint:
        return Endpoint(self, name)

    async def serve(
        self, handlers: Mapping[str, Handler], info: Mapping[str, Any] | None = None, *, once: Iterable[str] = ()
    ) -> Registration:
        """Registers one instance of this component, with these endpoints; further calls add to it.

        handlers: by name of the endpoint. info: plain data for each endpoint, readable in `Instance.info`. once: the
        endpoints that must not be given a request twice, so that their callers get WorkerLost when this worker dies.
        Requests may arrive before this returns. Raises ConnectError when NATS does not take the registration.
        """
        runtime = self.runtime
        await runtime.listen()
        for name, handler in handlers.items():
            path = f"{self.namespace}/{self.name}/{checked(name)}"
            runtime.server.handlers[path], _ = handler, runtime.server.meters[path]
        async with runtime.registering:
            old = runtime.directory.registration(self.namespace, self.name)
            known, notes = (old.instance.endpoints, old.instance.info) if old else ((), {})
            endpoints = tuple(dict.fromkeys([*known, *handlers]))
            only_once = tuple(dict.fromkeys([*(old.instance.once if old else ()), *once]))
            instance = runtime.instance(self.namespace, self.name, endpoints, {**notes, **(info or {})}, only_once)
            if old is None:
                return await runtime.directory.register(instance)
            await old.update(instance)
            return old


class Endpoint:
    """One endpoint of a component."""

    def __init__(self, component: Component, name: str) -> None:
        self.component, self.name = component, checked(name)

    async def client(self, policy: Policy | None = None) -> Client:
        """A client of this endpoint, which knows the instances there are. `policy`: round robin if not given."""
        component, runtime = self.component, self.component.runtime
        return Client(runtime, await runtime.directory.watch(component.namespace, component.name), self.name, policy)

    async def serve_endpoint(self, handler: Callable[..., Any]) -> None:
        """Serves `handler(request)` or `handler(request, context)` until the runtime is closed, as upstream's does.

        The handler gives an async iterator (a stream) or an awaitable (one answer).
        """
        takes_context = len(inspect.signature(handler).parameters) > 1

        def handle(args: list[Any], kwargs: dict[str, Any], context: Any) -> Any:
            return handler(*args, context, **kwargs) if takes_context else handler(*args, **kwargs)

        await self.component.serve({self.name: handle})
        await self.component.runtime.closed.wait()


def checked(name: str) -> str:
    """The name, which may not be empty or have a slash: addresses are `namespace/component/endpoint`."""
    if not name or "/" in name:
        raise DefinitionError(f"{name!r} cannot be a name", remedy="use letters, digits, '-', '_' and '.'")
    return name
