"""HTTP endpoints of a service: routes of a FastAPI application."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from functools import wraps
from typing import Annotated, Any, get_origin

from dynamo_nb.errors import DynamoError, summary_of
from dynamo_nb.runtime.call_context import CURRENT
from dynamo_nb.runtime.http_request import HttpRequest, error_content, note_exception, status_of
from dynamo_nb.runtime.meters import Meter, Meters
from dynamo_nb.sdk.endpoint import DynamoTransport, Endpoint
from dynamo_nb.sdk.hooks import run_hooks

Explain = Callable[[BaseException], DynamoError | None]
_CONVERTOR = re.compile(r":\w+}")
_WITH_BODY = {"POST", "PUT", "PATCH"}


def http_endpoints(endpoints: Mapping[str, Endpoint]) -> list[Endpoint]:
    """Returns the endpoints with an HTTP route."""
    return [e for e in endpoints.values() if DynamoTransport.HTTP in e.transports]


def endpoint_routes(endpoints: Mapping[str, Endpoint]) -> dict[str, Endpoint]:
    """Returns the endpoints by the names of their routes, such as `GET /models/{name}`."""
    return {f"{e.http_method} {_CONVERTOR.sub('}', _path(e))}": e for e in http_endpoints(endpoints)}


def _path(endpoint: Endpoint) -> str:
    return f"/{endpoint.name.strip('/')}"


def application(
    instance: object,
    endpoints: Mapping[str, Endpoint],
    app: Any,
    component: str,
    meters: Meters,
    explain: Explain = lambda _: None,
) -> Any:
    """Creates the FastAPI application of a service.

    Args:
        instance: The service's object.
        endpoints: The endpoints of its class.
        app: The user's FastAPI application, which gets the routes; another ASGI application, which answers all other
            requests; or None.
        component: `namespace/component` of the service.
        meters: Count the requests of each endpoint.
        explain: Converts some exceptions to errors for clients; returns None for others.
    """
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse

    own: dict[str, Any] = {"title": type(instance).__name__, "description": inspect.getdoc(type(instance)) or ""}
    other = None
    if app is not None and not isinstance(app, FastAPI):
        # The other application may have pages with the paths of FastAPI's documentation.
        other, app = app, _in_front_of(app, **own, **({} if http_endpoints(endpoints) else {"openapi_url": None}))
    app = app or FastAPI(**own)
    for endpoint in http_endpoints(endpoints):
        path = f"{component}/{endpoint.attribute if '/' in endpoint.name else endpoint.name}"
        app.router.add_api_route(
            _path(endpoint),
            _route(instance, endpoint, explain),
            methods=[endpoint.http_method],
            name=endpoint.name,
            response_model=None,
            route_class_override=_measured(path, meters[path]),
        )

    async def probe(kind: Any) -> JSONResponse:
        try:
            healthy = all(await run_hooks(instance, kind))
        except Exception as error:
            return JSONResponse({"status": "failed", "error": summary_of(error)}, status_code=503)
        return JSONResponse({"status": "ok" if healthy else "failed"}, status_code=200 if healthy else 503)

    async def healthz() -> JSONResponse:
        return await probe("liveness")

    async def readyz() -> JSONResponse:
        return await probe("readiness")

    async def error_response(_: Request, error: Any) -> JSONResponse:
        if isinstance(request := CURRENT.get(), HttpRequest):
            request.error = error
        return JSONResponse(error_content(error), status_code=status_of(error))

    app.add_api_route("/healthz", healthz, methods=["GET"], include_in_schema=False)
    app.add_api_route("/readyz", readyz, methods=["GET"], include_in_schema=False)
    app.add_exception_handler(DynamoError, error_response)
    if other is not None:
        app.mount("/", other)
    return app


def _in_front_of(other: Any, **settings: Any) -> Any:
    """A FastAPI application in which another ASGI application can be mounted. It runs the startup of the other one."""
    from fastapi import FastAPI

    class InFront(FastAPI):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await (other if scope["type"] == "lifespan" else super().__call__)(scope, receive, send)

    return InFront(**settings)


def _measured(path: str, meter: Meter) -> Any:
    """A class of routes whose requests are counted and traced. path: `namespace/component/endpoint`."""
    from fastapi.routing import APIRoute

    class Measured(APIRoute):
        async def handle(self, scope: Any, receive: Any, send: Any) -> None:
            request = CURRENT.get()
            if isinstance(request, HttpRequest):
                await request.measure(path, meter, super().handle, scope, receive, send)
            else:
                await super().handle(scope, receive, send)

    return Measured


def _route(instance: object, endpoint: Endpoint, explain: Explain) -> Any:
    """The endpoint as a function with a signature for FastAPI: parameters come from the body, except for GET."""
    from fastapi.responses import Response, StreamingResponse

    class Items(StreamingResponse):
        """Closes the generator of the endpoint, which may wait for its client to read."""

        def __init__(self, items: Any, first: list[Any]) -> None:
            async def chunks() -> AsyncIterator[bytes]:
                for item in first:
                    yield _chunk(item)
                async for item in items:
                    yield _chunk(item)

            media_types: dict[type, str] = {str: "text/plain; charset=utf-8", bytes: "application/octet-stream"}
            media_type = media_types.get(type(first[0]) if first else str, "application/x-ndjson")
            super().__init__(chunks(), media_type=media_type)
            self._items = items

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async with aclosing(self._items):
                await super().__call__(scope, receive, send)

    bound = endpoint.function.__get__(instance)

    if endpoint.stream:

        @wraps(bound)
        async def streamed(**kwargs: Any) -> Response:
            items = bound(**kwargs)
            first: list[Any] = []
            with _noting(explain), suppress(StopAsyncIteration):
                first.append(await anext(items))  # an error before the first item must become an HTTP status
            return Items(items, first)

        route: Any = streamed
    elif inspect.iscoroutinefunction(bound):

        @wraps(bound)
        async def plain(**kwargs: Any) -> Any:
            with _noting(explain):
                return await bound(**kwargs)

        route = plain
    else:

        @wraps(bound)
        def threaded(**kwargs: Any) -> Any:
            with _noting(explain):
                return bound(**kwargs)

        route = threaded
    del route.__wrapped__  # FastAPI would follow it and treat the route as the wrapped generator
    route.__signature__ = _signature(endpoint)
    return route


@contextmanager
def _noting(explain: Explain) -> Iterator[None]:
    """Notes the exception of an endpoint on its request, because the answer may have only a status. Converts it."""
    try:
        yield
    except Exception as error:
        note_exception(error)
        if (explained := explain(error)) is not None:
            raise explained from None
        raise


def _signature(endpoint: Endpoint) -> inspect.Signature:
    """The endpoint's signature, with plain parameters marked as fields of the body.

    FastAPI itself handles models, mappings, parameters of the path, its own types, and parameters that are marked.
    """
    from fastapi import BackgroundTasks, Body, UploadFile, params
    from fastapi.security import SecurityScopes
    from starlette.requests import HTTPConnection
    from starlette.responses import Response

    handled = (dict, HTTPConnection, Response, BackgroundTasks, SecurityScopes, UploadFile)
    parameters = []
    for name, parameter in endpoint.signature.parameters.items():
        shape = endpoint.inputs[name]
        annotation = shape.annotation
        kind = get_origin(annotation) or annotation
        by_fastapi = shape.structured or (isinstance(kind, type) and issubclass(kind, handled))
        marked = isinstance(parameter.default, params.Param | params.Body | params.Depends) or kind is Annotated
        if endpoint.http_method in _WITH_BODY and not by_fastapi and not marked and f"{{{name}" not in endpoint.name:
            default = ... if parameter.default is parameter.empty else parameter.default
            parameter = parameter.replace(default=Body(default, embed=True))  # noqa: PLW2901
        parameters.append(parameter.replace(annotation=annotation, kind=inspect.Parameter.KEYWORD_ONLY))
    return inspect.Signature(parameters)


def _chunk(item: Any) -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, str):
        return item.encode()
    from fastapi.encoders import jsonable_encoder

    return json.dumps(jsonable_encoder(item), ensure_ascii=False).encode() + b"\n"
