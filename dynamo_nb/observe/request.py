"""A call as it is written on a command line: `frontend.generate` and a payload in JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_nb.errors import InvalidArgument, NoSuchService, TargetError, nearest
from dynamo_nb.sdk.call import Call

if TYPE_CHECKING:
    from dynamo_nb.deployment import Deployment


@dataclass(frozen=True)
class Request:
    """What to call, and with which arguments; `call` makes a new call of it each time."""

    deployment: Deployment
    service: str
    endpoint: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def parse(cls, deployment: Deployment, target: str, payload: str | None) -> Request:
        """target: `Service.endpoint`; the service in any case.

        payload: a JSON object of arguments by name, any other JSON value as the one argument, `@file.json` to read
        either from a file, None for no arguments. Raises TargetError, NoSuchService, NoSuchEndpoint, InvalidArgument.
        """
        name, _, endpoint = target.rpartition(".")
        if not name:
            raise TargetError(f"{target!r} names no endpoint", remedy="write it as Service.endpoint")
        known = {service.lower(): service for service in deployment.spec.started}
        if name.lower() not in known:
            remedy = nearest(name, known.values())
            raise NoSuchService(f"the deployment serves no {name!r}", where=deployment.id, remedy=remedy)
        service = known[name.lower()]
        getattr(deployment[service], endpoint)
        if payload is None:
            return cls(deployment, service, endpoint, (), {})
        value = _value(payload)
        args, kwargs = ((), value) if isinstance(value, dict) else ((value,), {})
        return cls(deployment, service, endpoint, args, kwargs)

    def call(self) -> Call[Any]:
        """Raises InvalidArgument for arguments that do not fit the endpoint."""
        call: Call[Any] = getattr(self.deployment[self.service], self.endpoint)(*self.args, **self.kwargs)
        return call


def _value(payload: str) -> Any:
    where, text = "--payload", payload
    if payload.startswith("@"):
        where = payload[1:]
        try:
            text = Path(where).read_text(encoding="utf-8")
        except OSError as error:
            raise InvalidArgument(f"the payload cannot be read: {error.strerror}", where=where) from None
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidArgument(
            f"the payload is no JSON: {error}", where=where, remedy="""write it as '{"text": "hello"}'"""
        ) from None
