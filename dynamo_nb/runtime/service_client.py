"""A client that looks like the service: `backend.generate(text)` calls a worker as if it were a local object.

The same class is used for a dependency inside a worker and for `deployment.Backend` in a notebook.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dynamo_nb.errors import DynamoError, NoSuchEndpoint, suggestion
from dynamo_nb.runtime.client import Client
from dynamo_nb.sdk.call import Call
from dynamo_nb.sdk.endpoint import Endpoint


class Caller(Protocol):
    """Creates calls of one endpoint; `Client` is one.

    The arguments have already been checked. `receive` converts the answer, or each item of a stream, for the caller;
    None keeps it as received.
    """

    def __call__(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, receive: Callable[[Any], Any] | None
    ) -> Call[Any]: ...


class RemoteEndpoint:
    """An endpoint of a service in another process. It has the endpoint's own signature and docstring."""

    def __init__(self, endpoint: Endpoint, call: Caller) -> None:
        self._endpoint, self._call = endpoint, call
        self.__name__, self.__doc__ = endpoint.attribute, endpoint.function.__doc__
        self.__signature__ = endpoint.signature
        self._receive = None if endpoint.output.free else endpoint.receive

    def __call__(self, *args: Any, **kwargs: Any) -> Call[Any]:
        """Creates a call. The arguments are checked here, so that an error points to the caller's code.

        Raises:
            InvalidArgument: The arguments do not fit the endpoint's signature.
        """
        args, kwargs = self._endpoint.outgoing(*self._endpoint.bind(args, kwargs))
        return self._call(args, kwargs, receive=self._receive)

    @property
    def client(self) -> Client:
        """The runtime's client of this endpoint: its instances, and calls of a certain one.

        Raises DynamoError outside a worker, where there is no such client.
        """
        if not isinstance(self._call, Client):
            raise DynamoError(
                f"{self._endpoint.where} has no client of the runtime in this process",
                where="a process that is not a worker",
                remedy="use it in a method of a service that is being served",
            )
        return self._call

    def __repr__(self) -> str:
        return f"<remote endpoint {self._endpoint.where}>"


class ServiceClient:
    """A service in other processes. Its endpoints are attributes, by the name of the method and of the endpoint.

    Args:
        name: Name of the service.
        cls: The service's class, or its interface.
        endpoints: The endpoints of the class.
        caller_of: Returns the Caller of an endpoint, by its name.
    """

    def __init__(
        self, name: str, cls: type, endpoints: Mapping[str, Endpoint], caller_of: Callable[[str], Caller]
    ) -> None:
        self._name, self._cls = name, cls
        self.__doc__ = cls.__doc__ or type(self).__doc__
        self._endpoints: dict[str, RemoteEndpoint] = {}
        for endpoint in endpoints.values():
            if endpoint.served:
                remote = RemoteEndpoint(endpoint, caller_of(endpoint.name))
                self._endpoints[endpoint.attribute] = self._endpoints[endpoint.name] = remote

    def __getattr__(self, name: str) -> RemoteEndpoint:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._endpoints[name]
        except KeyError:
            raise self._missing(name) from None

    def _missing(self, name: str) -> NoSuchEndpoint:
        where, attribute = f"{self._name}.{name}", getattr(self._cls, name, None)
        if isinstance(attribute, Endpoint):
            remedy = "add DynamoTransport.DEFAULT to its transports, or request its URL"
            return NoSuchEndpoint(f"{where} is an endpoint for HTTP only", where=attribute.where, remedy=remedy)
        if inspect.isfunction(attribute):
            remedy = "decorate it with @dynamo_endpoint()"
            return NoSuchEndpoint(f"{where} is a method, but not an endpoint", where=where, remedy=remedy)
        # The class may be an interface that lacks other methods of the service.
        remedy = f"{suggestion(name, self._endpoints)}; decorate other methods with @dynamo_endpoint() to call them"
        return NoSuchEndpoint(f"{self._name} has no endpoint {name!r}", where=where, remedy=remedy)

    def __dir__(self) -> list[str]:
        return list(self._endpoints)

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}{inspect.signature(e)}" for n, e in self._endpoints.items())
        return f"<service {self._name}: {shown or 'no endpoints'}>"
