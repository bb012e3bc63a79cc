"""Endpoints: the methods of a service that callers can reach."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from enum import Enum
from functools import cached_property, update_wrapper
from types import FrameType
from typing import Any, get_args, get_origin, overload

from dynamo_nb.errors import DefinitionError, EndpointError, InvalidArgument
from dynamo_nb.sdk.call import Call, LocalCall
from dynamo_nb.sdk.origin import origin_of
from dynamo_nb.sdk.tagged import Outgoing
from dynamo_nb.sdk.values import Shape, hints_of

_POSITIONAL = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


class DynamoTransport(Enum):
    """Transports by which an endpoint can be called."""

    DEFAULT = "default"
    """From other services, through a dependency or a client."""
    HTTP = "http"
    """As an HTTP route of the service."""


class Endpoint:
    """A method that callers can reach. The attribute of the class is the `Endpoint`; on an instance it is callable.

    Calling the attribute of an instance returns a `Call`.

    Attributes:
        function: The method.
        name: The name that callers use.
        attribute: The name of the method.
        owner: The name of the class.
        transports: Transports by which it can be called.
        http_method: The HTTP method of its route.
        retry: True if a request may be sent to another worker after the first was lost before it answered anything.
        example: An example of a request over HTTP, a method of the service that returns one, or None.
        abstract: True if it belongs to an interface.
        stream: True if it answers with a stream of items.
        overridden: The endpoint of a base class that this one overrides, or None.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        transports: Sequence[DynamoTransport] = (DynamoTransport.DEFAULT,),
        http_method: str = "POST",
        retry: bool = True,
        abstract: bool = False,
        example: Any = None,
    ) -> None:
        if isinstance(function, Endpoint):
            plain: Callable[..., Any] = function.function
            raise DefinitionError(
                f"the endpoint {plain.__qualname__} is decorated twice",
                where=_origin_of_method(plain),
                remedy="decorate it once: @dynamo_endpoint(transports=[DynamoTransport.DEFAULT, DynamoTransport.HTTP]) "
                "serves both services and HTTP",
            )
        self.function: Callable[..., Any] = function
        self.name = name or function.__name__
        self.transports = frozenset(transports)
        self.http_method = http_method.upper()
        self.retry = retry
        self.abstract = abstract
        self.example = example
        self.attribute = function.__name__
        self.owner = ""
        self.overridden: Endpoint | None = None
        self.stream = inspect.isasyncgenfunction(function)
        update_wrapper(self, function)
        asynchronous = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        if DynamoTransport.DEFAULT in self.transports and not asynchronous:
            raise DefinitionError(
                f"the endpoint {function.__qualname__} is not asynchronous",
                where=_origin_of_method(function),
                remedy="write it as `async def`, with `return` for one answer or `yield` for a stream",
            )

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.attribute, self.owner = attribute, owner.__name__
        found = next((vars(base)[attribute] for base in owner.__mro__[1:] if attribute in vars(base)), None)
        self.overridden = found if isinstance(found, Endpoint) else None

    @overload
    def __get__(self, instance: None, owner: type) -> Endpoint: ...
    @overload
    def __get__(self, instance: object, owner: type) -> BoundEndpoint: ...
    def __get__(self, instance: object | None, owner: type) -> Endpoint | BoundEndpoint:
        return self if instance is None else BoundEndpoint(self, instance)

    def __call__(self, instance: object, *args: Any, **kwargs: Any) -> Call[Any]:
        """`Backend.generate(backend, …)`, as for any method."""
        return BoundEndpoint(self, instance)(*args, **kwargs)

    @property
    def served(self) -> bool:
        """True if other services can call it; False for an endpoint that only HTTP clients reach."""
        return DynamoTransport.DEFAULT in self.transports

    @cached_property
    def signature(self) -> inspect.Signature:
        """The signature for callers, without `self`."""
        signature = inspect.signature(self.function)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    @cached_property
    def _hints(self) -> dict[str, Any]:
        """The annotations. Those that an override leaves out are taken from the overridden endpoint."""
        own = hints_of(self.function)
        if self.overridden is None:
            return own
        inherited = dict(self.overridden._hints)
        if _is_stream(inherited.get("return")) != self.stream:
            inherited.pop("return", None)
        return inherited | own

    @cached_property
    def inputs(self) -> dict[str, Shape]:
        """The shape of each parameter's values, by parameter."""
        return {name: Shape(self._hints.get(name, Any)) for name in self.signature.parameters}

    @cached_property
    def _by_position(self) -> tuple[int, tuple[str, ...]]:
        """The number of required arguments, and the names of the positional parameters.

        If a call must pass an argument by name, the number is larger than the number of names.
        """
        kinds = [p for p in self.signature.parameters.values() if p.kind in _POSITIONAL]
        named = any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in self.signature.parameters.values())
        least = len(kinds) + 1 if named else sum(p.default is p.empty for p in kinds)
        return least, tuple(p.name for p in kinds)

    @cached_property
    def output(self) -> Shape:
        """The shape of the answer; of a stream, the shape of one item."""
        return Shape(_item_of(self._hints.get("return", Any)))

    @property
    def where(self) -> str:
        """Class, method and signature, for error messages."""
        return f"{self.owner}.{self.attribute}{self.signature}"

    def bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Checks arguments against the signature and converts them to the annotated types.

        Args:
            args: Positional arguments, without `self`.
            kwargs: Keyword arguments.

        Returns:
            The converted positional and keyword arguments.

        Raises:
            InvalidArgument: An argument is missing, unknown, or does not fit its annotation.
        """
        least, names = self._by_position
        if not kwargs and least <= len(args) <= len(names):
            # `Signature.bind` takes several microseconds in caller and worker, and most calls do not need it.
            return tuple(map(self._fit, names, args)), kwargs
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise _misfit(f"{self.owner}.{self.attribute}: {error}", self.where) from None
        for name, value in bound.arguments.items():
            kind = self.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                bound.arguments[name] = tuple(self._fit(name, item) for item in value)
            elif kind is inspect.Parameter.VAR_KEYWORD:
                bound.arguments[name] = {key: self._fit(name, item) for key, item in value.items()}
            else:
                bound.arguments[name] = self._fit(name, value)
        return bound.args, bound.kwargs

    def _fit(self, parameter: str, value: Any) -> Any:
        """Converts the value of a parameter to its annotated type."""
        shape = self.inputs[parameter]
        if shape.free or type(value) is shape.annotation:
            return value
        try:
            return shape.fit(value)
        except ValueError as error:
            what = f"{self.owner}.{self.attribute}: the argument {parameter!r} does not fit: {error}"
            raise _misfit(what, self.where) from None

    @cached_property
    def _packs(self) -> bool:
        return not all(shape.plain for shape in self.inputs.values())

    def outgoing(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Prepares arguments that `bind` returned for another process.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.

        Returns:
            The arguments, each that msgpack alone cannot carry as `Outgoing`.
        """
        if not self._packs:
            return args, kwargs
        _, names = self._by_position
        if not kwargs and len(args) <= len(names):
            return tuple(map(self._outgoing, names, args)), kwargs
        rest = {p.kind: p.name for p in self.signature.parameters.values()}
        positional = [*names] + [rest.get(inspect.Parameter.VAR_POSITIONAL, "")] * (len(args) - len(names))
        others = rest.get(inspect.Parameter.VAR_KEYWORD, "")
        sent = {name: self._outgoing(name if name in self.inputs else others, item) for name, item in kwargs.items()}
        return tuple(map(self._outgoing, positional, args)), sent

    def _outgoing(self, parameter: str, value: Any) -> Any:
        shape = self.inputs[parameter]
        return value if shape.plain else Outgoing(value, shape.pack_fitted)

    def receive(self, value: Any) -> Any:
        """Converts an answer to the annotated return type. The answers of HTTP routes are left to FastAPI.

        Args:
            value: The answer, or one item of a stream.

        Returns:
            The converted value.

        Raises:
            EndpointError: The value does not fit the return annotation.
        """
        shape = self.output
        if shape.free or not self.served or type(value) is shape.annotation:
            return value
        try:
            return shape.fit(value)
        except ValueError as error:
            raise EndpointError(
                f"the answer of {self.owner}.{self.attribute} does not match its return annotation: {error}",
                where=self.where,
                remedy="correct the return annotation or the returned value",
            ) from None

    def start(self, instance: object, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Starts the work on an instance.

        Args:
            instance: The service.
            args: Positional arguments, without `self`.
            kwargs: Keyword arguments.

        Returns:
            A coroutine, or an async generator for a stream.

        Raises:
            InvalidArgument: The arguments do not match the signature.
        """
        args, kwargs = self.bind(args, kwargs)
        return self.function(instance, *args, **kwargs)

    def check_types(self, where: str) -> None:
        """Checks that values of the annotations can be sent. Names that are not defined yet are passed over.

        Args:
            where: Names the service in the error.

        Raises:
            DefinitionError: An annotation contains a type that cannot be sent to another process.
        """
        if not self.served:
            return
        for name, hint in hints_of(self.function).items():
            found = Shape(_item_of(hint) if name == "return" else hint).obstacle
            if found:
                what = "its answer" if name == "return" else f"its parameter {name!r}"
                raise DefinitionError(
                    f"the endpoint {self.function.__qualname__} cannot be called from another process: "
                    f"{what} has the type {found}",
                    where=where,
                    remedy="write the class as a dataclass, a pydantic model or a msgspec.Struct; "
                    "send a name or a path in place of a resource, such as an open file",
                )

    def schema(self) -> dict[str, Any]:
        """Describes the parameters and the answer.

        Returns:
            Two JSON schemas: `input`, an object with one property for each parameter, and `output`.
        """
        required = [
            name
            for name, p in self.signature.parameters.items()
            if p.default is p.empty and p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}
        ]
        properties = {name: shape.schema() for name, shape in self.inputs.items()}
        return {
            "input": {"type": "object", "properties": properties, "required": required},
            "output": self.output.schema(),
        }

    def contract(self) -> dict[str, Any]:
        """Returns the contract of callers as plain data. Versions with equal contracts can serve each other's callers.

        Returns:
            The `schema`, with `parameters` (name, kind and whether it is required) and `stream`.
        """
        parameters = [[p.name, p.kind.name, p.default is p.empty] for p in self.signature.parameters.values()]
        return {**self.schema(), "parameters": parameters, "stream": self.stream}


def _misfit(what: str, where: str) -> InvalidArgument:
    error = InvalidArgument(what, where=where)
    error.kind = "call"
    return error


def _is_stream(hint: Any) -> bool:
    return (get_origin(hint) or hint) in (AsyncIterator, AsyncGenerator, AsyncIterable)


def _item_of(hint: Any) -> Any:
    """The annotation of an answer; of a stream, that of one item."""
    return next(iter(get_args(hint)), Any) if _is_stream(hint) else hint


def _origin_of_method(function: Callable[..., Any]) -> str:
    """The location of a method in its cell or file. Called while the cell or file that defines its class runs."""
    code = function.__code__
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != code.co_filename:
        frame = frame.f_back
    return str(origin_of(frame)) if frame is not None else f"{code.co_filename}:{code.co_firstlineno}"


class BoundEndpoint:
    """An endpoint on an instance in this process."""

    def __init__(self, endpoint: Endpoint, instance: object) -> None:
        self.endpoint, self.instance = endpoint, instance
        self.__name__, self.__doc__ = endpoint.attribute, endpoint.function.__doc__
        self.__signature__ = endpoint.signature
        self.__wrapped__ = endpoint.function.__get__(instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Call[Any]:
        args, kwargs = self.endpoint.bind(args, kwargs)
        return LocalCall(lambda: self.endpoint.function(self.instance, *args, **kwargs), self.endpoint.receive)

    def __repr__(self) -> str:
        return f"<endpoint {self.endpoint.where}>"


def endpoints_of(cls: type) -> dict[str, Endpoint]:
    """The endpoints of a class by name, inherited ones included."""
    found: dict[str, Endpoint] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            found = {n: e for n, e in found.items() if e.attribute != attribute}
            if isinstance(value, Endpoint):
                found[value.name] = value
    return found
