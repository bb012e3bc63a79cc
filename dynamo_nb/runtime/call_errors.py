"""What callers are told when a request fails."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from pathlib import Path

from dynamo_nb.errors import DeadlineExceeded, DynamoError, EndpointError, NoSuchEndpoint, suggestion
from dynamo_nb.runtime.request import Handler

_RUNTIME = str(Path(__file__).parent) + os.sep


def name_of(handler: Handler) -> str:
    return str(getattr(handler, "__qualname__", ""))


def no_such_endpoint(path: str, known: Iterable[str]) -> NoSuchEndpoint:
    """path: `namespace/component/endpoint`. known: the names of the component's endpoints."""
    component, _, name = path.rpartition("/")
    return NoSuchEndpoint(
        f"{component.rpartition('/')[2]} has no endpoint {name!r}: {suggestion(name, known)}",
        where=f"dynamo://{path}",
        remedy="an endpoint is a method with @dynamo_endpoint()",
    )


def too_late(path: str) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"dynamo://{path} did not answer in the time that the request had",
        where=f"dynamo://{path}",
        remedy="allow more time; the metrics of the deployment show how long its requests take",
    )


def as_error(error: BaseException, handler: Handler) -> DynamoError:
    """What the caller gets for an exception: our own errors as they are, others with their traceback."""
    if isinstance(error, DynamoError):
        return error
    kind, frames = type(error).__name__, error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_RUNTIME):
        frames = frames.tb_next
    text = "".join(traceback.TracebackException(type(error), error, frames).format())
    try:
        said = str(error)
    except Exception:  # an exception of a person's own making, whose text cannot be made
        said = "(without a text)"
    return EndpointError(f"{kind}: {said}", where=name_of(handler), kind=kind, traceback=text)
