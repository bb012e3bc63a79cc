"""`dynamo_context`: what a worker tells the service that it runs."""

from __future__ import annotations

import importlib
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from dynamo_nb.errors import DynamoError


class _Context(dict[str, Any]):
    def __missing__(self, key: str) -> Any:
        raise DynamoError(
            f"dynamo_context[{key!r}] is not set",
            where="a process that is no worker" if not self else "this worker",
            remedy="read it in a method of a service that is being served; keys there: runtime, component, endpoints, "
            "namespace, worker_id, instance_id, folder",
        )


dynamo_context: dict[str, Any] = _Context()
"""Filled in a worker before the service's `__init__`.

Keys: `runtime` (DistributedRuntime), `component`, `endpoints` (names), `namespace`, `worker_id`, `instance_id`,
`folder` (Path; the deployment's own on this machine, removed when it ends; make a folder in it for files).
"""

importing: ContextVar[str] = ContextVar("importing", default="")
"""The module that is being imported for the services in it, else "": nothing may be served from there."""


def import_services(module: str) -> ModuleType:
    """Imports a module for the services in it."""
    token = importing.set(module)
    try:
        return importlib.import_module(module)
    finally:
        importing.reset(token)
