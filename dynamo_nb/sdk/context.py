"""`dynamo_context`: the runtime and identity of the worker, for the service that it runs."""

from __future__ import annotations

import importlib
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from dynamo_nb.errors import DynamoError


class EndpointName(str):
    """The name of an endpoint in the worker that serves it.

    Args:
        name: The name.
        instance_id: The id of the worker's instance.
    """

    __slots__ = ("_instance_id",)
    _instance_id: int

    def __new__(cls, name: str, instance_id: int) -> EndpointName:
        made = super().__new__(cls, name)
        made._instance_id = instance_id
        return made

    def lease_id(self) -> int:
        """Returns the id of the instance, for `client.direct(…)`."""
        return self._instance_id


class DynamoContext(dict[str, Any]):
    """The runtime and identity of the worker, as a dict that is filled before the service's `__init__`.

    Keys:

    - `runtime`: the `DistributedRuntime`, for clients of services that are not declared as dependencies.
    - `component`: the component under which the service registers.
    - `endpoints`: list of the names of the service's endpoints. As in the Dynamo SDK, each has `lease_id()`, the id of
      this instance.
    - `namespace`: the namespace under which the service registers.
    - `worker_id`: the worker's id in its deployment.
    - `instance_id`: the id of this instance, for `Call.using(instance_id=…)`.
    - `folder`: `Path` of the deployment's state directory on this machine. It is removed when the deployment ends.

    Raises:
        DynamoError: A key is read in a process that is not a worker.

    Example:
        A client of a service that is not declared as a dependency::

            runtime = dynamo_context["runtime"]
            namespace, name = Backend.dynamo_address()
            endpoint = runtime.namespace(namespace).component(name).endpoint("generate")
            client = await endpoint.client()
    """

    def __missing__(self, key: str) -> Any:
        raise DynamoError(
            f"dynamo_context[{key!r}] is not set",
            where="a process that is not a worker" if not self else "this worker",
            remedy="read it in a method of a service in a worker; the keys are runtime, component, endpoints, "
            "namespace, worker_id, instance_id, folder",
        )


dynamo_context: dict[str, Any] = DynamoContext()

importing: ContextVar[str] = ContextVar("importing", default="")
"""The module that is being imported for its services, else "". A deployment must not be started while it is set."""


def import_services(module: str) -> ModuleType:
    """Imports a module for its services."""
    token = importing.set(module)
    try:
        return importlib.import_module(module)
    finally:
        importing.reset(token)
