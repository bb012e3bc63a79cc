"""The name of a route: `POST /generate`, or `Frontend POST /generate` if several services answer over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from dynamo_nb.errors import InvalidArgument, NoSuchEndpoint, NoSuchService, suggestion
from dynamo_nb.graph.spec import EndpointSpec, GraphSpec

_TARGET: Final = re.compile(r"(?:(?P<service>\w+)[ ./]?\s*)??(?P<method>[A-Za-z]+)\s+(?P<path>(?:/|https?://)\S*)")
_PARAMETER: Final = re.compile(r"{(\w+)(?::\w+)?}")
WITHOUT_BODY: Final = frozenset({"GET", "HEAD"})
"""Methods whose payload is sent as the query."""


def is_route(target: str) -> bool:
    """Returns True for `POST /generate`, False for `Frontend.generate`.

    Args:
        target: The name of a route or an endpoint.
    """
    return _TARGET.fullmatch(target.strip()) is not None


def find_route(target: str, spec: GraphSpec, urls: Mapping[str, str]) -> tuple[str, str]:
    """Finds the service of a route.

    Args:
        target: `POST /generate`, `Frontend POST /generate`, or with a complete URL in place of the path.
        spec: The deployment.
        urls: URLs of the services that answer over HTTP, by service.

    Returns:
        The service, and the method with the path.

    Raises:
        InvalidArgument: The target does not name a route.
        NoSuchService: The service does not answer over HTTP, or several services do and the target names none.
    """
    match = _TARGET.fullmatch(target.strip())
    if match is None:
        remedy = 'write the method and the path: "POST /generate"'
        raise InvalidArgument(f"{target!r} does not name an HTTP route", where="http(…)", remedy=remedy)
    service, method, path = match["service"], match["method"].upper(), match["path"]
    if not path.startswith("/"):
        service = next((name for name, url in urls.items() if f"{path}/".startswith(f"{url}/")), service)
        path = path.removeprefix(urls.get(service or "", "")) or "/"
        if not path.startswith("/"):
            known = ", ".join(urls.values()) or "no service answers over HTTP"
            raise InvalidArgument(f"{path} is not a URL of this deployment", where=target, remedy=f"known: {known}")
    candidates = [service] if service else list(urls)
    if len(candidates) > 1:
        candidates = [name for name in candidates if _has_route(spec, name, method, path)]
    if len(candidates) == 1 and candidates[0] in urls:
        return candidates[0], f"{method} {path}"
    if service:
        raise NoSuchService(f"{service} does not answer over HTTP", where=target, remedy=suggestion(service, urls))
    if not urls:
        raise NoSuchService(
            "no service of this deployment answers over HTTP", remedy="decorate a method with @dynamo_api()"
        )
    remedy = f'name the service: "{next(iter(urls))} {method} {path}"'
    raise NoSuchService(f"several services answer over HTTP: {', '.join(urls)}", where=target, remedy=remedy)


def _has_route(spec: GraphSpec, service: str, method: str, path: str) -> bool:
    path = path.partition("?")[0]
    return any(
        "http" in endpoint.transports
        and endpoint.http_method == method
        and re.fullmatch(".+".join(map(re.escape, _PARAMETER.split(f"/{endpoint.name.strip('/')}")[::2])), path)
        for endpoint in spec.services[service].endpoints
    )


def with_query(target: str, payload: Any) -> str:
    """Returns a target with a payload as its query.

    Args:
        target: Method and path.
        payload: A mapping of names to values.

    Raises:
        InvalidArgument: The payload is not a mapping.
    """
    if not isinstance(payload, Mapping):
        remedy = "write an object with the parameters of the query"
        raise InvalidArgument(f"{target} takes no body", where=target, remedy=remedy)
    values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in payload.items()}
    return f"{target}{'&' if '?' in target else '?'}{urlencode(values)}" if values else target


def route_request(service: str, endpoint: EndpointSpec, arguments: Mapping[str, Any]) -> tuple[str, Any]:
    """Returns target and payload of a request of an endpoint over HTTP, see `runtime.http`.

    Args:
        service: Name of the service.
        endpoint: An endpoint with an HTTP route.
        arguments: Arguments by name.

    Raises:
        NoSuchEndpoint: The endpoint has no HTTP route.
    """
    if "http" not in endpoint.transports:
        raise NoSuchEndpoint(f"{service}.{endpoint.name} has no HTTP route", remedy="add DynamoTransport.HTTP")
    rest = dict(arguments)
    path = _PARAMETER.sub(lambda found: quote(str(rest.pop(found[1], found[0]))), f"/{endpoint.name.strip('/')}")
    target = f"{service} {endpoint.http_method} {path}"
    if not rest:
        return target, None
    schemas = endpoint.input.get("properties", {})
    in_body = [name for name in schemas if f"{{{name}" not in endpoint.name]
    if endpoint.http_method not in WITHOUT_BODY and len(in_body) == 1 and _is_whole_body(schemas[in_body[0]]):
        return target, next(iter(rest.values()))
    return target, rest


def _is_whole_body(schema: Mapping[str, Any]) -> bool:
    """True for a parameter that FastAPI reads from the complete body: a model, a mapping or the request."""
    if "$ref" in schema:
        schema = schema.get("$defs", {}).get(str(schema["$ref"]).rpartition("/")[2], {"type": "object"})
    return not schema or schema.get("type") == "object" or "properties" in schema
