"""Calls of a deployment's services from any event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from dynamo_nb.deployment.plan import Plan
from dynamo_nb.deployment.supervisor_connection import SupervisorConnection
from dynamo_nb.errors import ConnectError, DynamoError, NoInstances, NoSuchService, suggestion
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.runtime.client import Client
from dynamo_nb.runtime.distributed_runtime import DistributedRuntime
from dynamo_nb.runtime.remote_call import RemoteCall
from dynamo_nb.runtime.service_client import Caller, ServiceClient
from dynamo_nb.runtime.tracing import TRACING
from dynamo_nb.sdk.call import Call
from dynamo_nb.sdk.portal import portal


class LoopCalls:
    """The clients of a deployment's services. Each event loop that calls them has its own runtime.

    Args:
        connection: The deployment.
    """

    def __init__(self, connection: SupervisorConnection) -> None:
        self._connection = connection
        self._runtimes: dict[asyncio.AbstractEventLoop, asyncio.Task[DistributedRuntime]] = {}
        self._clients: dict[tuple[DistributedRuntime, str, str, str, bytes], Client] = {}
        self._services: dict[str, tuple[Plan, ServiceClient]] = {}
        connection.on_plan.append(self._set_own)
        connection.on_end.append(self.close)

    @property
    def loops(self) -> list[asyncio.AbstractEventLoop]:
        """The event loops that have a runtime."""
        return list(self._runtimes)

    def service(self, name: str) -> ServiceClient:
        """Returns the client of a service. Raises NoSuchService."""
        plan = self._connection.plan
        made_for, client = self._services.get(name, (None, None))
        if client is None or made_for is not plan:
            client = self._service_client(plan, name)
            self._services[name] = plan, client
        return client

    def _service_client(self, plan: Plan, name: str) -> ServiceClient:
        started = plan.spec.started
        if name not in started:
            raise NoSuchService(
                f"the deployment has no service {name!r}", where=self._connection.id, remedy=suggestion(name, started)
            )
        definition, namespace = plan.program.graph.services[name], started[name].namespace

        def caller_of(endpoint: str) -> Caller:
            stream = definition.endpoints[endpoint].stream
            contract = msgspec.json.encode(definition.endpoints[endpoint].contract())

            def call(args: tuple[Any, ...], kwargs: dict[str, Any], *, receive: Any = None) -> Call[Any]:
                return LoopCall(
                    lambda: self._client(namespace, name, endpoint, contract),
                    args,
                    kwargs,
                    receive,
                    f"{name}.{endpoint}",
                    stream,
                )

            return call

        return ServiceClient(name, definition.cls, definition.endpoints, caller_of)

    async def _client(self, namespace: str, service: str, endpoint: str, contract: bytes) -> Client:
        """The running loop's client of an endpoint: one for all calls, so that they take turns among the workers.

        contract: the contract of the endpoint, as JSON. During a change of the signature, two contracts are in use.
        """
        self._connection.check_process()
        self._check_workers(service)
        TRACING.detect()  # tracing may have been configured since the last call
        runtime = await self._runtime()
        key = runtime, namespace, service, endpoint, contract
        if key not in self._clients:
            component = runtime.namespace(namespace).component(service)
            client = await component.endpoint(endpoint).client(contract=msgspec.json.decode(contract))
            self._clients.setdefault(key, client)
        return self._clients[key]

    def _check_workers(self, name: str) -> None:
        """Raises NoInstances for a service scaled to 0: a call would wait in vain."""
        service = self._connection.status.services.get(name)
        if service is not None and service.desired == 0 and not service.workers:
            remedy = f"start some: deployment.scale({name}=1), or `dynamo scale {name}=1`"
            raise NoInstances(f"{name} has 0 workers", where=self._connection.id, remedy=remedy)

    async def _runtime(self) -> DistributedRuntime:
        """The runtime of the running loop."""
        connection = self._connection
        if connection.status.ended:
            raise connection.stopped_error()
        loop = asyncio.get_running_loop()
        connecting = self._runtimes.get(loop)
        if connecting is None:
            own = _components(connection.plan.spec)
            connecting = asyncio.create_task(
                DistributedRuntime.connect(**vars(connection.access), graph=connection.id, own=own)
            )
            self._runtimes[loop] = connecting
        try:
            return await asyncio.shield(connecting)
        except ConnectError:
            if self._runtimes.get(loop) is connecting:
                del self._runtimes[loop]  # the next call connects again
            raise

    @asynccontextmanager
    async def on_temporary_loop(self, calls: Sequence[Call[Any]]) -> AsyncIterator[Sequence[Call[Any]]]:
        """Connects the running loop for calls, and closes its connections at the end, before the loop is closed."""
        await self._runtime()
        try:
            yield calls
        finally:
            if (connecting := self._runtimes.pop(asyncio.get_running_loop(), None)) is not None:
                runtime = await connecting
                for key in [key for key in self._clients if key[0] is runtime]:
                    del self._clients[key]
                await runtime.close()

    def _set_own(self, plan: Plan) -> None:
        """Updates the components with workers in all runtimes."""
        for connecting in self._runtimes.values():
            if connecting.done() and not connecting.cancelled() and not connecting.exception():
                connecting.result().own = _components(plan.spec)

    async def close(self) -> None:
        """Closes the runtimes of all loops. Runs on the portal's loop."""
        runtimes, self._runtimes = self._runtimes, {}
        self._clients.clear()

        async def close(task: asyncio.Task[DistributedRuntime]) -> None:
            with suppress(DynamoError):  # it may have failed to connect
                await (await task).close()

        for loop, task in runtimes.items():
            if loop is portal.loop:
                await close(task)
            elif not loop.is_closed():
                asyncio.run_coroutine_threadsafe(close(task), loop)


def _components(spec: GraphSpec) -> frozenset[str]:
    """The components of which the deployment has workers."""
    return frozenset(f"{service.namespace}/{service.name}" for service in spec.started.values())


@dataclass(eq=False, repr=False)
class LoopCall(Call[Any]):
    """A call that gets its client when it starts, on the loop on which it starts.

    Attributes:
        client: Returns the client of the running loop.
        args: Positional arguments.
        kwargs: Keyword arguments.
        receive: Converts the answer, or each item of a stream; None keeps it as received.
        name: `Backend.generate`.
        stream: True if the answer is a stream.
    """

    client: Callable[[], Awaitable[Client]]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    receive: Callable[[Any], Any] | None
    name: str
    stream: bool

    async def _start(self) -> RemoteCall[Any]:
        client = await self.client()
        return RemoteCall(client.selection, self.args, self.kwargs, self.options, self.receive)

    async def _answer(self) -> Any:
        return await (await self._start())

    def __await__(self) -> Generator[Any, None, Any]:
        return self._answer().__await__()

    async def _items(self) -> AsyncIterator[Any]:
        items = aiter(await self._start())
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._items()
