"""Write, serve, edit and ship LLM inference graphs from a Jupyter notebook.

Every worker imports this package, so each name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamo_nb.deployment.attach import attach as attach
    from dynamo_nb.deployment.deployment import Deployment as Deployment
    from dynamo_nb.deployment.serve import serve as serve
    from dynamo_nb.errors import DynamoError as DynamoError
    from dynamo_nb.graph import Graph as Graph
    from dynamo_nb.graph import GraphSpec as GraphSpec
    from dynamo_nb.sdk import AbstractService as AbstractService
    from dynamo_nb.sdk import DynamoTransport as DynamoTransport
    from dynamo_nb.sdk import abstract_endpoint as abstract_endpoint
    from dynamo_nb.sdk import api as api
    from dynamo_nb.sdk import async_on_shutdown as async_on_shutdown
    from dynamo_nb.sdk import async_on_start as async_on_start
    from dynamo_nb.sdk import depends as depends
    from dynamo_nb.sdk import dynamo_api as dynamo_api
    from dynamo_nb.sdk import dynamo_context as dynamo_context
    from dynamo_nb.sdk import dynamo_endpoint as dynamo_endpoint
    from dynamo_nb.sdk import endpoint as endpoint
    from dynamo_nb.sdk import liveness as liveness
    from dynamo_nb.sdk import on_shutdown as on_shutdown
    from dynamo_nb.sdk import readiness as readiness
    from dynamo_nb.sdk import reconfigure as reconfigure
    from dynamo_nb.sdk import service as service
    from dynamo_nb.sdk import trace_note as trace_note
    from dynamo_nb.sdk.service_config import ServiceConfig as ServiceConfig

_MODULES = {
    "Deployment": "dynamo_nb.deployment.deployment",
    "DynamoError": "dynamo_nb.errors",
    "Graph": "dynamo_nb.graph",
    "GraphSpec": "dynamo_nb.graph",
    "ServiceConfig": "dynamo_nb.sdk.service_config",
    "attach": "dynamo_nb.deployment.attach",
    "serve": "dynamo_nb.deployment.serve",
} | dict.fromkeys(
    [
        "AbstractService",
        "DynamoTransport",
        "abstract_endpoint",
        "api",
        "async_on_shutdown",
        "async_on_start",
        "depends",
        "dynamo_api",
        "dynamo_context",
        "dynamo_endpoint",
        "endpoint",
        "liveness",
        "on_shutdown",
        "readiness",
        "reconfigure",
        "service",
        "trace_note",
    ],
    "dynamo_nb.sdk",
)

__all__ = sorted(_MODULES)  # noqa: PLE0605
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'dynamo_nb' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(shell: Any) -> None:
    """Adds the magics and widgets to a notebook: `%load_ext dynamo_nb`.

    Args:
        shell: The IPython shell.
    """
    from dynamo_nb.notebook import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Removes the magics and widgets from a notebook: `%unload_ext dynamo_nb`.

    Args:
        shell: The IPython shell.
    """
    from dynamo_nb.notebook import unload

    unload(shell)
