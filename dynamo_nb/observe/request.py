"""One request as a person writes it: `frontend.generate`, and a payload in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dynamo_nb.errors import InvalidArgument, NoSuchEndpoint, NoSuchService, suggestion
from dynamo_nb.graph.spec import EndpointSpec, GraphSpec
from dynamo_nb.observe.example import example
from dynamo_nb.sdk.call import Call


class Served(Protocol):
    """A deployment, in this process or another."""

    @property
    def spec(self) -> GraphSpec: ...


@dataclass(frozen=True)
class Request:
    """A request of one endpoint with its arguments. It can be made any number of times."""

    service: str
    endpoint: EndpointSpec
    served: Any = field(repr=False)
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, served: Served, target: str, payload: str | None = None) -> Request:
        """The request that these words mean: `frontend.generate` and JSON, or `@file.json` that holds it.

        A service may be written in other letters (`frontend`) where one only can be meant. A JSON object whose keys are
        parameters gives keyword arguments, any other value is the one positional argument.

        Raises NoSuchService, NoSuchEndpoint, or InvalidArgument with an example of a payload.
        """
        text = _file(payload[1:]) if payload is not None and payload.startswith("@") else payload
        return _with_payload(*_find(served, target), served, text, where=payload or "")

    @classmethod
    def parse_all(cls, served: Served, target: str, payload: str | None = None) -> list[Request]:
        """The same; `@lines.jsonl` gives a request for each of its lines."""
        if payload is None or not (payload.startswith("@") and payload.endswith((".jsonl", ".ndjson"))):
            return [cls.parse(served, target, payload)]
        service, endpoint = _find(served, target)
        lines = [(n, line) for n, line in enumerate(_file(payload[1:]).splitlines(), 1) if line.strip()]
        if not lines:
            raise InvalidArgument(f"{payload[1:]} holds no payload", remedy="write one JSON value on each line")
        return [_with_payload(service, endpoint, served, line, where=f"{payload[1:]}:{n}") for n, line in lines]

    @property
    def name(self) -> str:
        return f"{self.service}.{self.endpoint.name}"

    def call(self) -> Call[Any]:
        """The request as a call of a Deployment, begun when it is awaited or iterated.

        Raises InvalidArgument for what does not fit the endpoint.
        """
        call: Call[Any] = getattr(self.served[self.service], self.endpoint.name)(*self.args, **self.kwargs)
        return call


def _find(served: Served, target: str) -> tuple[str, EndpointSpec]:
    started = served.spec.started
    service, _, name = target.rpartition(".")
    if not service or not name:
        known = ", ".join(_names(started))
        raise NoSuchEndpoint(f"{target!r} names no endpoint", remedy=f"write Service.endpoint: known are {known}")
    alike = [n for n in started if n == service] or [n for n in started if n.lower() == service.lower()]
    if len(alike) != 1:
        raise NoSuchService(f"the deployment serves no {service!r}", where=target, remedy=suggestion(service, started))
    endpoints = {e.name: e for e in started[alike[0]].endpoints}
    endpoint = endpoints.get(name)
    if endpoint is None:
        raise NoSuchEndpoint(f"{alike[0]} has no endpoint {name!r}", where=target, remedy=suggestion(name, endpoints))
    if "default" not in endpoint.transports:
        remedy = "add DynamoTransport.DEFAULT to its transports"
        raise NoSuchEndpoint(f"{alike[0]}.{name} is an endpoint for HTTP only", where=target, remedy=remedy)
    return alike[0], endpoint


def _names(started: Mapping[str, Any]) -> Iterator[str]:
    for name, service in started.items():
        yield from (f"{name}.{e.name}" for e in service.endpoints if "default" in e.transports)


def _with_payload(service: str, endpoint: EndpointSpec, served: Served, text: str | None, where: str) -> Request:
    args, kwargs = _arguments(service, endpoint, text, where)
    return Request(service, endpoint, served, args, kwargs)


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
    try:
        value = json.loads(text)
    except ValueError as error:
        what = f"the payload of {service}.{endpoint.name} is no JSON: {error}"
        raise InvalidArgument(what, where=where, remedy=f"for example {payload_like(endpoint)}") from None
    if isinstance(value, dict) and set(required) <= set(value) <= set(properties):
        return (), value
    return (value,), {}


def payload_like(endpoint: EndpointSpec) -> str:
    """`--payload '…'` with a plausible argument for each parameter that is required."""
    made = json.dumps(example(endpoint.input), ensure_ascii=False).replace("'", "'\\''")
    return f"--payload '{made}'"


def _file(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the payload cannot be read: {error}", where=path) from None
