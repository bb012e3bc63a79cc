"""A request as a user writes it: `Frontend.generate` or `POST /generate`, and a payload in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dynamo_nb.errors import InvalidArgument, NoSuchEndpoint, NoSuchService, suggestion
from dynamo_nb.graph.spec import EndpointSpec, GraphSpec
from dynamo_nb.observe.example import example
from dynamo_nb.observe.http_target import is_route, route_request
from dynamo_nb.sdk.call import Call


class Served(Protocol):
    """A deployment, as far as a request needs it."""

    @property
    def spec(self) -> GraphSpec: ...


@dataclass(frozen=True)
class Request:
    """A request of one endpoint. It can be made any number of times.

    Attributes:
        name: the endpoint, such as `Frontend.generate`, or the route, such as `POST /generate`.
        call: returns the request as a call. The call starts when it is awaited or iterated. Raises InvalidArgument if
            the arguments do not fit the endpoint.
    """

    name: str
    call: Callable[[], Call[Any]]

    @classmethod
    def parse(cls, served: Served, target: str, payload: str | None = None) -> Request:
        """Returns the request that a target and a payload describe.

        Args:
            served: the deployment.
            target: `Frontend.generate`, or `POST /generate` for a request over HTTP. The service's name is found
                without regard to case if only one fits. An endpoint for HTTP only is requested over HTTP.
            payload: JSON, or `@file.json`. An object whose keys are parameters is read as keyword arguments, any other
                value as one positional argument. Over HTTP it is the body, or the query of a GET.

        Raises:
            NoSuchService: the deployment has no such service.
            NoSuchEndpoint: the service has no such endpoint.
            InvalidArgument: the payload is missing or is not JSON. The error shows an example.
        """
        text = _file(payload[1:]) if payload is not None and payload.startswith("@") else payload
        return _request(served, target, text, where=payload or "")

    @classmethod
    def parse_all(cls, served: Served, target: str, payload: str | None = None) -> list[Request]:
        """Returns the requests of a payload: one for each line of `@lines.jsonl`, else the one of `parse`."""
        if payload is None or not (payload.startswith("@") and payload.endswith((".jsonl", ".ndjson"))):
            return [cls.parse(served, target, payload)]
        if not is_route(target):
            _find(served, target)  # an unknown target is an error before an unknown file
        lines = [(n, line) for n, line in enumerate(_file(payload[1:]).splitlines(), 1) if line.strip()]
        if not lines:
            raise InvalidArgument(f"{payload[1:]} has no payload", remedy="write one JSON value on each line")
        return [_request(served, target, line, where=f"{payload[1:]}:{n}") for n, line in lines]


def _request(served: Any, target: str, text: str | None, where: str) -> Request:
    if is_route(target):
        value = None if text is None else _value(text, target, where, "")
        call = served.http(target, value)
        return Request(call.name, lambda: call)
    service, endpoint = _find(served, target)
    args, kwargs = _arguments(service, endpoint, text, where)
    if "default" in endpoint.transports:
        name = f"{service}.{endpoint.name}"
        return Request(name, lambda: getattr(served[service], endpoint.name)(*args, **kwargs))
    names = list(endpoint.input.get("properties", {}))
    call = served.http(*route_request(service, endpoint, {**dict(zip(names, args, strict=False)), **kwargs}))
    return Request(call.name, lambda: call)


def _find(served: Served, target: str) -> tuple[str, EndpointSpec]:
    started = served.spec.started
    service, _, name = target.rpartition(".")
    if not service or not name:
        known = ", ".join(_names(started))
        raise NoSuchEndpoint(f"{target!r} does not name an endpoint", remedy=f"write Service.endpoint, one of {known}")
    alike = [n for n in started if n == service] or [n for n in started if n.lower() == service.lower()]
    if len(alike) != 1:
        raise NoSuchService(
            f"the deployment has no service {service!r}", where=target, remedy=suggestion(service, started)
        )
    endpoints = {e.name: e for e in started[alike[0]].endpoints}
    endpoint = endpoints.get(name)
    if endpoint is None:
        raise NoSuchEndpoint(f"{alike[0]} has no endpoint {name!r}", where=target, remedy=suggestion(name, endpoints))
    return alike[0], endpoint


def _names(started: Mapping[str, Any]) -> Iterator[str]:
    for name, service in started.items():
        yield from (f"{name}.{e.name}" for e in service.endpoints)


def _arguments(
    service: str, endpoint: EndpointSpec, text: str | None, where: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    properties = endpoint.input.get("properties", {})
    required = endpoint.input.get("required", [])
    if text is None:
        if required:
            what = f"{service}.{endpoint.name} needs a payload: {', '.join(required)}"
            raise InvalidArgument(what, remedy=f"for example {payload_like(endpoint)}")
        return (), {}
    value = _value(text, f"{service}.{endpoint.name}", where, f"for example {payload_like(endpoint)}")
    if isinstance(value, dict) and set(required) <= set(value) <= set(properties):
        return (), value
    return (value,), {}


def _value(text: str, name: str, where: str, remedy: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"the payload of {name} is not JSON: {error}", where=where, remedy=remedy) from None


def payload_like(endpoint: EndpointSpec) -> str:
    """Returns `--payload '…'` with an example of each required argument."""
    example_payload = json.dumps(example(endpoint.input), ensure_ascii=False).replace("'", "'\\''")
    return f"--payload '{example_payload}'"


def _file(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the payload cannot be read: {error}", where=path) from None
