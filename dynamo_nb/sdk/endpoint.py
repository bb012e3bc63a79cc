"""Endpoints: the methods of a service that others may call."""

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
from dynamo_nb.sdk.values import Shape, hints_of

_POSITIONAL = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


class DynamoTransport(Enum):
    """How an endpoint is reached."""

    DEFAULT = "default"
    """From other services, through a dependency or a client."""
    HTTP = "http"
    """As an HTTP route of the service."""


class Endpoint:
    """A method that others may call: on an instance a callable that gives a `Call`, on the class its description.

    name: what callers use. stream: whether it answers with a stream of items. retry: whether a request may be sent to
    another worker when the first was lost before it answered anything. over: the endpoint that it overrides.
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
    ) -> None:
        if isinstance(function, Endpoint):
            plain: Callable[..., Any] = function.function
            raise DefinitionError(
                f"the endpoint {plain.__qualname__} is decorated twice",
                where=_written(plain),
                remedy="once is enough: @dynamo_endpoint(transports=[DynamoTransport.DEFAULT, DynamoTransport.HTTP]) "
                "serves both services and HTTP",
            )
        self.function: Callable[..., Any] = function
        self.name = name or function.__name__
        self.transports = frozenset(transports)
        self.http_method = http_method.upper()
        self.retry = retry
        self.abstract = abstract
        self.attribute = function.__name__
        self.owner = ""
        self.over: Endpoint | None = None
        self.stream = inspect.isasyncgenfunction(function)
        update_wrapper(self, function)
        asynchronous = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        if DynamoTransport.DEFAULT in self.transports and not asynchronous:
            raise DefinitionError(
                f"the endpoint {function.__qualname__} is not asynchronous",
                where=_written(function),
                remedy="write it as `async def`, with `return` for one answer or `yield` for a stream",
            )

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.attribute, self.owner = attribute, owner.__name__
        found = next((vars(base)[attribute] for base in owner.__mro__[1:] if attribute in vars(base)), None)
        self.over = found if isinstance(found, Endpoint) else None

    @overload
    def __get__(self, instance: None, owner: type) -> Endpoint: ...
    @overload
    def __get__(self, instance: object, owner: type) -> BoundEndpoint: ...
    def __get__(self, instance: object | None, owner: type) -> Endpoint | BoundEndpoint:
        return self if instance is None else BoundEndpoint(self, instance)

    def __call__(self, instance: object, *args: Any, **kwargs: Any) -> Call[Any]:
        """`Backend.generate(backend, …)`: the spelling through the class."""
        return BoundEndpoint(self, instance)(*args, **kwargs)

    @property
    def served(self) -> bool:
        """Whether other services can call it, as opposed to HTTP clients only."""
        return DynamoTransport.DEFAULT in self.transports

    @cached_property
    def signature(self) -> inspect.Signature:
        """The signature that callers see: without `self`."""
        signature = inspect.signature(self.function)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    @cached_property
    def _hints(self) -> dict[str, Any]:
        """The annotations. What an override leaves out is as in the endpoint that it overrides."""
        own = hints_of(self.function)
        if self.over is None:
            return own
        inherited = dict(self.over._hints)
        if _of_a_stream(inherited.get("return")) != self.stream:
            inherited.pop("return", None)
        return inherited | own

    @cached_property
    def inputs(self) -> dict[str, Shape]:
        """Parameter name to the shape of its values."""
        return {name: Shape(self._hints.get(name, Any)) for name in self.signature.parameters}

    @cached_property
    def _by_position(self) -> tuple[int, tuple[Shape, ...]]:
        """How many arguments are needed, and the shapes of those that can be given by position alone.

        More are needed than there are shapes where a call must name one.
        """
        kinds = [p for p in self.signature.parameters.values() if p.kind in _POSITIONAL]
        named = any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in self.signature.parameters.values())
        least = len(kinds) + 1 if named else sum(p.default is p.empty for p in kinds)
        return least, tuple(self.inputs[p.name] for p in kinds)

    @cached_property
    def output(self) -> Shape:
        """The shape of the answer, or of one item of a stream."""
        hint = self._hints.get("return", Any)
        if _of_a_stream(hint):
            hint = next(iter(get_args(hint)), Any)
        return Shape(hint)

    @property
    def where(self) -> str:
        return f"{self.owner}.{self.attribute}{self.signature}"

    def bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Checks arguments against the signature and makes them what its annotations say.

        Raises InvalidArgument that names the parameter.
        """
        least, shapes = self._by_position
        if not kwargs and least <= len(args) <= len(shapes):
            # `Signature.bind` costs several microseconds at both ends, and what most calls pass needs nothing of it.
            for shape, value in zip(shapes, args, strict=False):
                if not shape.free and type(value) is not shape.annotation:
                    break
            else:
                return tuple(args), kwargs
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArgument(f"{self.owner}.{self.attribute}: {error}", where=self.where) from None
        for name, value in bound.arguments.items():
            shape = self.inputs[name]
            if shape.free or type(value) is shape.annotation:
                continue
            kind = self.signature.parameters[name].kind
            try:
                if kind is inspect.Parameter.VAR_POSITIONAL:
                    bound.arguments[name] = tuple(shape.fit(item) for item in value)
                elif kind is inspect.Parameter.VAR_KEYWORD:
                    bound.arguments[name] = {key: shape.fit(item) for key, item in value.items()}
                else:
                    bound.arguments[name] = shape.fit(value)
            except ValueError as error:
                raise InvalidArgument(
                    f"{self.owner}.{self.attribute}: the argument {name!r} does not fit: {error}", where=self.where
                ) from None
        return bound.args, bound.kwargs

    def receive(self, value: Any) -> Any:
        """Makes an answer what the return annotation says; that of an HTTP route is FastAPI's matter."""
        shape = self.output
        if shape.free or not self.served or type(value) is shape.annotation:
            return value
        try:
            return shape.fit(value)
        except ValueError as error:
            raise EndpointError(
                f"{self.owner}.{self.attribute} answered with something that is not what it declares: {error}",
                where=self.where,
                remedy="correct the return annotation, or what the endpoint gives",
            ) from None

    def start(self, instance: object, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Begins the work on `instance`: a coroutine, or an async generator for a stream."""
        args, kwargs = self.bind(args, kwargs)
        return self.function(instance, *args, **kwargs)

    def schema(self) -> dict[str, Any]:
        """JSON schemas: `input` (an object with a property for each parameter) and `output`."""
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


def _of_a_stream(hint: Any) -> bool:
    return (get_origin(hint) or hint) in (AsyncIterator, AsyncGenerator, AsyncIterable)


def _written(function: Callable[..., Any]) -> str:
    """Where a method stands: the cell, or the line of the file, that is making its class now."""
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


def endpoint(
    name: str | None = None,
    *,
    transports: Sequence[DynamoTransport] | None = None,
    http_method: str = "POST",
    retry: bool = True,
) -> Callable[[Callable[..., Any]], Any]:
    """Marks a method as an endpoint: `async def` with `return` for one answer, with `yield` for a stream.

    name: what callers use instead of the method's name.
    transports: `[DynamoTransport.HTTP]` makes it an HTTP route; both may be given.
    http_method: of that route.
    retry: False if a request must never be done twice; the caller then gets `WorkerLost` when a worker dies.
    """
    if callable(name):  # `@dynamo_endpoint` without parentheses
        return Endpoint(name)

    def mark(function: Callable[..., Any]) -> Endpoint:
        chosen = transports or (DynamoTransport.DEFAULT,)
        return Endpoint(function, name=name, transports=chosen, http_method=http_method, retry=retry)

    return mark


def api(name: str | None = None, *, http_method: str = "POST") -> Callable[[Callable[..., Any]], Any]:
    """Marks a method as an HTTP route `/name` of the service; a FastAPI route in all respects."""
    if callable(name):
        return Endpoint(name, transports=[DynamoTransport.HTTP])
    return endpoint(name, transports=[DynamoTransport.HTTP], http_method=http_method)


dynamo_endpoint = endpoint
dynamo_api = api


def endpoints_of(cls: type) -> dict[str, Endpoint]:
    """The endpoints of a class by name, inherited ones included."""
    found: dict[str, Endpoint] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            found = {n: e for n, e in found.items() if e.attribute != attribute}
            if isinstance(value, Endpoint):
                found[value.name] = value
    return found
