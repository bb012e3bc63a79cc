"""The HTTP routes of a deployment, each with an example request."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final
from urllib.parse import quote, urlencode

from dynamo_nb.observe.example import example

_CELL: Final = "padding:1px 14px 1px 0;text-align:left;vertical-align:top"
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


@dataclass(frozen=True)
class Route:
    """A route of a service over HTTP.

    Attributes:
        service: Name of the service.
        method: HTTP method.
        path: Path with its parameters, such as `/items/{item}`.
        doc: First line of its description.
        url: URL of an example request, with example values for the required parameters.
        headers: Headers of the example request, by name.
        body: Body of the example request as text; "" for none.
        form: Form fields of the example request; a file field ends with `;filename=…`.
        docs: URL of the documentation page of the service, or "".
    """

    service: str
    method: str
    path: str
    doc: str
    url: str
    headers: Mapping[str, str]
    body: str = ""
    form: tuple[str, ...] = ()
    docs: str = ""

    @property
    def name(self) -> str:
        """Method and path, such as `POST /generate`."""
        return f"{self.method} {self.path}"

    @property
    def curl(self) -> str:
        """A `curl` command line with the example request. It does not buffer a streamed answer."""
        words = ["curl", "-N"]
        if self.method == "HEAD":
            words.append("-I")
        elif self.method != ("POST" if self.body or self.form else "GET"):
            words += ["-X", self.method]
        words.append(self.url)
        for name, value in self.headers.items():
            words += ["-H", f"{name}: {value}"]
        for each in self.form:
            words += ["-F", each]
        if self.body:
            words += ["-d", self.body]
        return shlex.join(words)


class Routes(Sequence[Route]):
    """The routes of a deployment. Displayed as a table with links."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)

    def __len__(self) -> int:
        return len(self._routes)

    def __getitem__(self, at: Any) -> Any:
        return self._routes[at]

    def __str__(self) -> str:
        lines = []
        for route in self._routes:
            doc = f"  {route.doc}" if route.doc else ""
            lines += [f"{route.service}  {route.name}{doc}", f"  {route.curl}"]
        docs = dict.fromkeys((route.service, route.docs) for route in self._routes if route.docs)
        lines += [f"{service}  documentation: {url}" for service, url in docs]
        return "\n".join(lines) or "no HTTP routes"

    __repr__ = __str__

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self.html}

    @property
    def html(self) -> str:
        """The table as HTML."""

        def row(cells: Sequence[str], tag: str = "td") -> str:
            formatted = (f'<{tag} style="{_CELL}">{cell}</{tag}>' for cell in cells)
            return f"<tr>{''.join(formatted)}</tr>"

        def link(url: str, text: str) -> str:
            return f'<a href="{escape(url)}" target="_blank" rel="noopener">{escape(text)}</a>'

        rows = [
            row(
                [
                    link(route.docs, route.service) if route.docs else escape(route.service),
                    escape(route.method),
                    link(route.url, route.path) if route.method == "GET" else escape(route.path),
                    f"<code>{escape(route.curl)}</code>",
                    escape(route.doc),
                ]
            )
            for route in self._routes
        ]
        return (
            f"<table aria-label='HTTP routes'>{row(['', 'method', 'path', 'request', ''], 'th')}{''.join(rows)}</table>"
        )


def routes_of(service: str, base_url: str, described: Mapping[str, Any]) -> list[Route]:
    """Returns the routes of a service.

    Args:
        service: Name of the service.
        base_url: Its URL.
        described: The report of its worker, see `HttpRoutes.load`.
    """
    docs = f"{base_url}{described['docs']}" if described["docs"] else ""
    return [_route(service, base_url, route, described["schemas"], docs) for route in described["routes"]]


def _route(service: str, base_url: str, route: Mapping[str, Any], schemas: Mapping[str, Any], docs: str) -> Route:
    path, query, headers, cookies = route["path"], {}, {}, []
    given = route.get("example")
    parameters = {parameter["name"] for parameter in route["parameters"]}
    values = {name: value for name, value in given.items() if name in parameters} if isinstance(given, dict) else {}
    rest = {name: value for name, value in given.items() if name not in values} if isinstance(given, dict) else given
    for parameter in route["parameters"]:
        name = parameter["name"]
        value = _parameter({"example": values[name]} if name in values else parameter, schemas)
        if parameter["in"] == "path":
            path = path.replace(f"{{{name}}}", quote(value))
        elif not parameter.get("required") and name not in values:
            continue
        elif parameter["in"] == "query":
            query[name] = value
        elif parameter["in"] == "header":
            headers[name] = value
        else:
            cookies.append(f"{name}={value}")
    if cookies:
        headers["cookie"] = "; ".join(cookies)
    body, form = "", list[str]()
    if rest:
        route = {**route, "body": {"type": "application/json", **route["body"], "example": rest}}
    media_type = route["body"].get("type", "")
    if media_type in _FORMS:
        form += _fields(_example(route["body"], schemas), route["body"], schemas)
    elif media_type:
        value = _example(route["body"], schemas)
        is_json = media_type.endswith("json") or not isinstance(value, str)
        body = json.dumps(value, ensure_ascii=False) if is_json else value
        headers["content-type"] = media_type
    url = base_url + path + (f"?{urlencode(query)}" if query else "")
    return Route(service, route["method"], route["path"], route["doc"], url, headers, body, tuple(form), docs)


def _example(described: Mapping[str, Any], schemas: Mapping[str, Any], name: str = "") -> Any:
    """An example of a parameter or a body: the declared example, or one that fits the schema."""
    if "example" in described:
        return described["example"]
    for each in (described.get("examples") or {}).values():
        if "value" in each:
            return each["value"]
    return example({**described.get("schema", {}), "$defs": schemas}, name)


def _parameter(parameter: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    value = _example(parameter, schemas, parameter.get("name", ""))
    return value if isinstance(value, str) else json.dumps(value)


def _fields(value: Any, body: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    schema = body.get("schema", {})
    schema = schemas.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    for name, one in (value if isinstance(value, dict) else {}).items():
        described = schema.get("properties", {}).get(name, {})
        is_file = described.get("format") == "binary" or "contentMediaType" in described
        yield f"{name}={one if isinstance(one, str) else json.dumps(one)}" + (";filename=example" if is_file else "")
