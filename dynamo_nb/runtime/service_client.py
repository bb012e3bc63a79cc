"""A client that looks like the service: `backend.generate(text)` calls a worker as if it were a local object.

The same kind of object stands for a dependency inside a worker and for `deployment.Backend` in a notebook.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from dynamo_nb.errors import DynamoError, NoSuchEndpoint, suggestion
from dynamo_nb.sdk.call import Call
from dynamo_nb.sdk.endpoint import Endpoint

if TYPE_CHECKING:
    from dynamo_nb.runtime.client import Client


class Caller(Protocol):
    """Begins a call of one endpoint with arguments that were already checked.

    receive: makes the answer, or each item of a stream, what the caller gets; None if that is what travelled.
    """

    def __call__(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, receive: Callable[[Any], Any] | None
    ) -> Call[Any]: ...


class RemoteEndpoint:
    """An endpoint of a service that runs elsewhere. Has the endpoint's own signature and docstring."""

    def __init__(self, endpoint: Endpoint, call: Caller) -> None:
        self._endpoint, self._call = endpoint, call
        self.__name__, self.__doc__ = endpoint.attribute, endpoint.function.__doc__
        self.__signature__ = endpoint.signature
        self._receive = None if endpoint.output.free else endpoint.receive

    def __call__(self, *args: Any, **kwargs: Any) -> Call[Any]:
        """Checks the arguments here, so that a mistake is shown where it was made, and calls a worker."""
        args, kwargs = self._endpoint.bind(args, kwargs)
        return self._call(args, kwargs, receive=self._receive)

    @property
    def client(self) -> Client:
        """The runtime's own client of this endpoint: its instances, as they come and go, and calls of one of them.

        Raises DynamoError outside a worker, where there is none.
        """
        from dynamo_nb.runtime.client import Client

        if not isinstance(self._call, Client):
            raise DynamoError(
                f"{self._endpoint.where} has no client of the runtime here",
                where="a process that is no worker",
                remedy="read it in a method of a service that is being served",
            )
        return self._call

    def __repr__(self) -> str:
        return f"<remote endpoint {self._endpoint.where}>"


class ServiceClient:
    """Endpoints of a service as attributes, by method name and by endpoint name.

    cls: the service's class, or its interface. call_of: gives the Caller of an endpoint by its name.
    """

    def __init__(
        self, name: str, cls: type, endpoints: Mapping[str, Endpoint], call_of: Callable[[str], Caller]
    ) -> None:
        self._name, self._cls = name, cls
        self.__doc__ = cls.__doc__ or type(self).__doc__
        self._endpoints: dict[str, RemoteEndpoint] = {}
        for endpoint in endpoints.values():
            if endpoint.served:
                remote = RemoteEndpoint(endpoint, call_of(endpoint.name))
                self._endpoints[endpoint.attribute] = self._endpoints[endpoint.name] = remote

    def __getattr__(self, name: str) -> RemoteEndpoint:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._endpoints[name]
        except KeyError:
            raise self._missing(name) from None

    def _missing(self, name: str) -> NoSuchEndpoint:
        where, there = f"{self._name}.{name}", getattr(self._cls, name, None)
        if isinstance(there, Endpoint):
            remedy = "add DynamoTransport.DEFAULT to its transports, or ask its URL"
            return NoSuchEndpoint(f"{where} is an endpoint for HTTP only", where=there.where, remedy=remedy)
        if inspect.isfunction(there):
            remedy = "decorate it with @dynamo_endpoint()"
            return NoSuchEndpoint(f"{where} exists, and is no endpoint", where=where, remedy=remedy)
        # An interface does not have them.
        remedy = (
            f"{suggestion(name, self._endpoints)}; other methods are decorated with @dynamo_endpoint() to be called"
        )
        return NoSuchEndpoint(f"{self._name} has no endpoint {name!r}", where=where, remedy=remedy)

    def __dir__(self) -> list[str]:
        return list(self._endpoints)

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}{inspect.signature(e)}" for n, e in self._endpoints.items())
        return f"<service {self._name}: {shown or 'no endpoints'}>"
