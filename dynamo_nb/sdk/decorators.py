"""The decorators that make methods endpoints: `@dynamo_endpoint()` and `@dynamo_api()`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from dynamo_nb.sdk.endpoint import DynamoTransport, Endpoint
from dynamo_nb.sdk.origin import origin_of


def endpoint(
    name: str | None = None,
    *,
    transports: Sequence[DynamoTransport] | None = None,
    http_method: str = "POST",
    retry: bool = True,
    is_api: bool = False,
) -> Callable[[Callable[..., Any]], Any]:
    """Marks a method as an endpoint. The decorator works with and without parentheses.

    The method is `async def`: with `return` it answers once, with `yield` it answers with a stream of items. Arguments
    and answers are converted to the annotated types. `endpoint` and `dynamo_endpoint` are the same function.

    Args:
        name: The name for callers; the name of the method by default.
        transports: `[DynamoTransport.HTTP]` for an HTTP route; `[DynamoTransport.DEFAULT, DynamoTransport.HTTP]` for
            both.
        http_method: The HTTP method of the route.
        retry: False if a request must not be processed twice. The caller then gets `WorkerLost` when the worker is
            lost; otherwise a request without any answer yet is sent to another worker.
        is_api: True for `transports=[DynamoTransport.HTTP]`, as in release 0.2 of the Dynamo SDK. It warns.

    Returns:
        The decorator.

    Raises:
        DefinitionError: The method is not asynchronous, or is an endpoint already.

    Example:
        One answer, and a stream::

            @service
            class Backend:
                @dynamo_endpoint()
                async def count(self, text: str) -> int:
                    return len(text.split())

                @dynamo_endpoint()
                async def generate(self, text: str):
                    for word in text.split():
                        yield word
    """
    if callable(name):  # `@dynamo_endpoint` without parentheses
        return Endpoint(name)
    if is_api:
        text = f"@dynamo_endpoint(is_api=True) is written @dynamo_api() today ({origin_of(sys._getframe(1))})"
        warnings.warn(text, FutureWarning, stacklevel=2)
        transports = transports or (DynamoTransport.HTTP,)

    def mark(function: Callable[..., Any]) -> Endpoint:
        chosen = transports or (DynamoTransport.DEFAULT,)
        return Endpoint(function, name=name, transports=chosen, http_method=http_method, retry=retry)

    return mark


def api(
    name: str | None = None, *, http_method: str = "POST", example: Any = None
) -> Callable[[Callable[..., Any]], Any]:
    """Marks a method as the HTTP route `/name` of the service. The decorator works with and without parentheses.

    It is a FastAPI route: a parameter with a model is the body, a returned response is sent as it is, and an async
    generator is streamed. The method may be a plain function. `api` and `dynamo_api` are the same function.

    Args:
        name: The path, without the slash; the name of the method by default.
        http_method: The HTTP method of the route.
        example: An example of a request, for `dynamo routes`: values by name of the parameters in the path and the
            query, and the body. Or a method of the service, also an async one, that returns it. Default: an example
            from the annotations.

    Returns:
        The decorator.

    Example:
        `POST /generate` with a JSON body::

            @service
            class Frontend:
                @dynamo_api()
                async def generate(self, request: Request):
                    async for word in self.backend.generate(request.text):
                        yield word
    """
    if callable(name):
        return Endpoint(name, transports=[DynamoTransport.HTTP])

    def mark(function: Callable[..., Any]) -> Endpoint:
        return Endpoint(
            function, name=name, transports=[DynamoTransport.HTTP], http_method=http_method, example=example
        )

    return mark


dynamo_endpoint = endpoint
dynamo_api = api
