"""The errors that callers receive when a request fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dynamo_nb.errors import (
    DeadlineExceeded,
    DynamoError,
    EndpointError,
    NoSuchEndpoint,
    class_of,
    suggestion,
    summary_of,
    traceback_of,
)

_RUNTIME = str(Path(__file__).parent) + os.sep


def handler_name(handler: Callable[..., Any]) -> str:
    """Returns the name of a handler for `where` of an error."""
    return str(getattr(handler, "__qualname__", ""))


def no_such_endpoint(path: str, known: Iterable[str]) -> NoSuchEndpoint:
    """Creates the error for an unknown endpoint.

    Args:
        path: `namespace/component/endpoint`.
        known: Names of the endpoints that the component has.
    """
    component, _, name = path.rpartition("/")
    return NoSuchEndpoint(
        f"{component.rpartition('/')[2]} has no endpoint {name!r}: {suggestion(name, known)}",
        where=f"dynamo://{path}",
        remedy="an endpoint is a method decorated with @dynamo_endpoint()",
    )


def deadline_exceeded(path: str) -> DeadlineExceeded:
    """Creates the error for a request that was not answered before its deadline."""
    return DeadlineExceeded(
        f"dynamo://{path} did not answer before the deadline of the request",
        where=f"dynamo://{path}",
        remedy="allow more time; the deployment's metrics show how long its requests take",
    )


def to_dynamo_error(error: BaseException, handler: Callable[..., Any]) -> DynamoError:
    """Converts an exception for the caller: a DynamoError stays, others become EndpointErrors with a traceback.

    Args:
        error: The exception.
        handler: The function that raised it. Its attribute `explain`, if it has one, converts some exceptions.
    """
    if isinstance(error, DynamoError):
        return error
    explain: Callable[[BaseException], DynamoError | None] | None = getattr(handler, "explain", None)
    if explain is not None and (explained := explain(error)) is not None:
        return explained
    kind, frames = class_of(error), error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_RUNTIME):
        frames = frames.tb_next
    text = traceback_of(error, frames)
    return EndpointError(summary_of(error), where=handler_name(handler), kind=kind, traceback=text)
