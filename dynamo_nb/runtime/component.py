"""Namespaces, components and endpoints: the names under which workers serve and clients call."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from dynamo_nb.errors import DefinitionError
from dynamo_nb.runtime.client import Client
from dynamo_nb.runtime.client_context import ClientContext
from dynamo_nb.runtime.registration import Registration
from dynamo_nb.runtime.request import Handler
from dynamo_nb.runtime.routing import Policy
from dynamo_nb.runtime.selection import InstanceSelection


class ComponentContext(ClientContext, Protocol):
    """The interface of a runtime for the components in its process; `DistributedRuntime` implements it.

    Attributes:
        closed: Set when the runtime has been closed.
    """

    closed: asyncio.Event

    async def serve_endpoints(
        self,
        namespace: str,
        component: str,
        handlers: Mapping[str, Handler],
        info: Mapping[str, Any],
        once: Iterable[str],
    ) -> Registration:
        """Serves endpoints of a component; see `Component.serve`."""
        ...


class Namespace:
    """A name that groups components."""

    def __init__(self, runtime: ComponentContext, name: str) -> None:
        self.runtime, self.name = runtime, checked_name(name)

    def component(self, name: str) -> Component:
        """Returns a component of this namespace.

        Args:
            name: Name of the component.

        Raises:
            DefinitionError: The name is empty or contains a slash.
        """
        return Component(self.runtime, self.name, name)


class Component:
    """The name of a service: its workers register under it, and its clients watch it."""

    def __init__(self, runtime: ComponentContext, namespace: str, name: str) -> None:
        self.runtime, self.namespace, self.name = runtime, namespace, checked_name(name)

    def endpoint(self, name: str) -> Endpoint:
        """Returns an endpoint of this component.

        Args:
            name: Name of the endpoint.

        Raises:
            DefinitionError: The name is empty or contains a slash.
        """
        return Endpoint(self, name)

    async def serve(
        self, handlers: Mapping[str, Handler], info: Mapping[str, Any] | None = None, *, once: Iterable[str] = ()
    ) -> Registration:
        """Registers an instance of this component with some endpoints. Further calls add endpoints to it.

        Requests may arrive before this returns.

        Args:
            handlers: Handlers by name of the endpoint.
            info: Plain data for each endpoint, readable in `Instance.info`.
            once: Endpoints that must not receive the same request twice; their callers get WorkerLost if this worker
                ends before it answers.

        Returns:
            The registration of the instance.

        Raises:
            ConnectError: NATS does not accept the registration.
        """
        return await self.runtime.serve_endpoints(self.namespace, self.name, handlers, info or {}, once)


class Endpoint:
    """One endpoint of a component."""

    def __init__(self, component: Component, name: str) -> None:
        self.component, self.name = component, checked_name(name)

    async def client(self, policy: Policy | None = None, contract: Mapping[str, Any] | None = None) -> Client:
        """Creates a client of this endpoint, which knows the instances that are registered now.

        Args:
            policy: Chooses the instance of each call; round robin by default.
            contract: The caller's `Endpoint.contract()`. During a change, instances with another contract may serve
                too. The client then calls only the instances whose contract is equal.

        Raises:
            ConnectError: NATS does not list the instances.
        """
        component, runtime = self.component, self.component.runtime
        watch = await runtime.discovery.watch(component.namespace, component.name)
        return Client(InstanceSelection(runtime, watch, self.name, policy, contract))

    async def serve_endpoint(self, handler: Callable[..., Any]) -> None:
        """Serves this endpoint until the runtime is closed, in the form of upstream's API.

        Args:
            handler: Takes `(request)` or `(request, context)`. Returns an async iterator (a stream) or an awaitable
                (one answer).
        """
        takes_context = len(inspect.signature(handler).parameters) > 1

        def handle(args: list[Any], kwargs: dict[str, Any], context: Any) -> Any:
            return handler(*args, context, **kwargs) if takes_context else handler(*args, **kwargs)

        await self.component.serve({self.name: handle})
        await self.component.runtime.closed.wait()


def checked_name(name: str) -> str:
    """Returns the name. Raises DefinitionError if it is empty or contains a slash, which separates names."""
    if not name or "/" in name:
        raise DefinitionError(f"{name!r} is not a valid name", remedy="use letters, digits, '-', '_' and '.'")
    return name
