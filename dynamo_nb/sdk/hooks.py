"""Lifecycle hooks: methods that a worker calls when it starts, stops, is checked or is reconfigured."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
HookKind = Literal["start", "shutdown", "liveness", "readiness", "reconfigure"]

_MARK = "__dynamo_hook__"


def _mark(function: F, kind: HookKind) -> F:
    setattr(function, _MARK, kind)
    return function


def async_on_start(function: F) -> F:
    """Marks a method that runs once, after `__init__` and before the first request.

    Hooks of base classes run first. An exception stops the worker.

    Args:
        function: A method without arguments, `def` or `async def`.

    Returns:
        The method.

    Example:
        An engine that is started in the event loop of the worker::

            @async_on_start
            async def load(self):
                self.engine = await load_engine(self.model)
    """
    return _mark(function, "start")


def on_shutdown(function: F) -> F:
    """Marks a method that runs once when the worker stops, after the last request is finished.

    It runs on every way of stopping a worker except SIGKILL, and has to end within the grace period. `on_shutdown` and
    `async_on_shutdown` are the same function.

    Args:
        function: A method without arguments, `def` or `async def`.

    Returns:
        The method.

    Example:
        Releasing an engine::

            @async_on_shutdown
            async def close(self):
                await self.engine.shutdown()
    """
    return _mark(function, "shutdown")


async_on_shutdown = on_shutdown


def liveness(function: F) -> F:
    """Marks the liveness check, which also answers `/healthz`.

    A supervisor calls it every few seconds. After three failures in a row the worker is drained and replaced.

    Args:
        function: A method without arguments, `def` or `async def`. A false result or an exception is a failure.

    Returns:
        The method.

    Example:
        Healthy while the engine runs::

            @liveness
            def engine_runs(self):
                return self.engine.is_running
    """
    return _mark(function, "liveness")


def readiness(function: F) -> F:
    """Marks the readiness check, which answers `/readyz`.

    Args:
        function: A method without arguments, `def` or `async def`. A false result or an exception means that the
            worker is not ready for traffic at the moment.

    Returns:
        The method.
    """
    return _mark(function, "readiness")


def reconfigure(function: F) -> F:
    """Marks a method that applies a changed configuration to a running worker.

    It is called if only the configuration of the service has changed. Without this hook the workers are replaced. If it
    raises an exception, the workers get the previous configuration again and the change is refused.

    Args:
        function: A method with one argument, the service's section as in `ServiceConfig.get_instance()["Backend"]`;
            `def` or `async def`.

    Returns:
        The method.

    Example:
        A suffix that changes without a restart::

            @reconfigure
            def update(self, config):
                self.suffix = config.get("suffix", "!")
    """
    return _mark(function, "reconfigure")


def hooks_of(cls: type, kind: HookKind) -> list[str]:
    """The names of the hook methods of one kind, those of base classes first. Overridden methods do not count."""
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if getattr(value, _MARK, None) == kind:
                names.setdefault(name)
    return list(names)


async def run_hooks(instance: object, kind: HookKind) -> list[Any]:
    """Calls the hooks of one kind in order and returns their results."""
    return [await run_hook(instance, name) for name in hooks_of(type(instance), kind)]


async def run_hook(instance: object, name: str, *args: Any) -> Any:
    """Calls one hook, and awaits it if it is asynchronous."""
    result = getattr(instance, name)(*args)
    return await result if inspect.isawaitable(result) else result
