"""The routes of a service's HTTP application: their descriptions, and the route of a request.

The descriptions come from the application's OpenAPI document, whose form is equal in every version of FastAPI. Other
routes, such as those of Starlette, have only a path and methods.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

METHODS: Final = ("get", "post", "put", "patch", "delete", "head", "options")
OTHER: Final = "other"
"""The name of requests without a route in the application."""
PROBES: Final = frozenset({"/healthz", "/readyz"})
_PARAMETER: Final = re.compile(r"{(\w+)(:\w+)?}")

logger = logging.getLogger(__name__)


class HttpRoutes:
    """The routes of one application. Any thread may use it.

    Args:
        app: A FastAPI application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._described: dict[str, Any] | None = None
        self._exact: dict[tuple[str, str], str] = {}
        self._patterns: list[tuple[str, re.Pattern[str], str]] = []

    def load(self) -> dict[str, Any]:
        """Reads the routes of the application at the first call.

        Returns:
            Plain data: `routes`, each with `method`, `path`, `doc`, `parameters` and `body` as in OpenAPI; the
            `schemas` of OpenAPI by name; `docs`, the path of the documentation page, or "".
        """
        with self._lock:
            if self._described is None:
                self._described = self._describe()
            return self._described

    def name_of(self, method: str, path: str) -> str:
        """Returns the name of the route of a request, such as `GET /items/{item}`, or OTHER.

        Args:
            method: HTTP method of the request.
            path: Path of the request.
        """
        if self._described is None:
            self.load()
        if (found := self._exact.get((method, path))) is not None:
            return found
        return next((name for m, pattern, name in self._patterns if m == method and pattern.fullmatch(path)), OTHER)

    def _describe(self) -> dict[str, Any]:
        schemas: dict[str, Any] = {}
        routes = {f"{route['method']} {route['path']}": route for route in _routes(self._app, "", schemas)}
        # A parameter may match one segment of the path, or several. Patterns with one segment come first.
        several = []
        for name, route in routes.items():
            method, path = route["method"], route["path"]
            if not _PARAMETER.search(path):
                self._exact[method, path] = name
                continue
            self._patterns.append((method, _pattern(path, "[^/]+"), name))
            several.append((method, _pattern(path, ".+"), name))
        self._patterns += several
        shown = [route for route in routes.values() if not route.pop("hidden")]
        return {"routes": shown, "schemas": schemas, "docs": _docs(self._app)}


def _pattern(path: str, value: str) -> re.Pattern[str]:
    parts = _PARAMETER.split(path)[::3]
    return re.compile(value.join(map(re.escape, parts)), re.DOTALL)


def _docs(app: Any) -> str:
    return (getattr(app, "openapi_url", None) and getattr(app, "docs_url", None)) or ""


def _routes(app: Any, prefix: str, schemas: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The routes of an application and of applications that are mounted in it."""
    document: Mapping[str, Any] = {}
    if hasattr(app, "openapi"):
        try:
            document = app.openapi()
        except Exception:  # a user's annotation without a schema; the routes themselves work
            logger.warning("the routes have no descriptions: the OpenAPI document cannot be created", exc_info=True)
    schemas.update(document.get("components", {}).get("schemas", {}))
    for path, operations in document.get("paths", {}).items():
        for method in METHODS:
            if method in operations:
                yield _operation(method, prefix + path, operations[method])
    own = {
        getattr(app, name, None) for name in ("openapi_url", "docs_url", "redoc_url", "swagger_ui_oauth2_redirect_url")
    }
    for route in getattr(app, "routes", ()):
        path, methods = getattr(route, "path", None), getattr(route, "methods", None)
        if path is not None and methods:
            path = getattr(route, "path_format", None) or path
            in_document = path in document.get("paths", {})
            shown = sorted(set(methods) - ({"HEAD"} if "GET" in methods else set()))
            for method in () if in_document else shown:
                hidden = path in own or path in PROBES
                yield {
                    "method": method,
                    "path": prefix + path,
                    "doc": "",
                    "parameters": [],
                    "body": {},
                    "hidden": hidden,
                }
        elif path is not None and hasattr(route, "app"):
            yield from _routes(route.app, prefix + path, schemas)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {})
    media_type = next((kind for kind in ("application/json", *content) if kind in content), "")
    body = {"type": media_type, **content[media_type]} if media_type else {}
    text = operation.get("description") or operation.get("summary") or ""
    return {
        "method": method.upper(),
        "path": path,
        "doc": text.strip().partition("\n")[0],
        "parameters": operation.get("parameters", []),
        "body": body,
        "hidden": False,
    }
