"""Hooks: methods of a service that its worker calls at fixed points of its life."""

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
    """Called once after `__init__` and before the first request; sync or async. An exception stops the worker."""
    return _mark(function, "start")


def on_shutdown(function: F) -> F:
    """Called once when the worker stops, after it has finished the requests it holds; sync or async."""
    return _mark(function, "shutdown")


async_on_shutdown = on_shutdown


def liveness(function: F) -> F:
    """Answers `/healthz`: falsy, or an exception, means that the worker should be replaced. Sync or async.

    A supervisor asks every few seconds, and has the worker drained and replaced after three such answers in a row.
    """
    return _mark(function, "liveness")


def readiness(function: F) -> F:
    """Answers `/readyz`: falsy, or an exception, means that no traffic should come now. Sync or async."""
    return _mark(function, "readiness")


def reconfigure(function: F) -> F:
    """Called with the service's new configuration when nothing else of it has changed; sync or async.

    Its argument is the service's section, as `ServiceConfig.get_instance()["Backend"]` gives it. With this hook a value
    that is changed reaches the workers that run; without it they are replaced. When it raises, they are given the
    configuration from before, and the change is refused.
    """
    return _mark(function, "reconfigure")


def hooks_of(cls: type, kind: HookKind) -> list[str]:
    """The names of the hook methods of one kind, those of base classes first.

    A method that overrides a hook takes its place, as with any method.
    """
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if getattr(value, _MARK, None) == kind:
                names.setdefault(name)
    return list(names)


async def run_hooks(instance: object, kind: HookKind) -> list[Any]:
    """Calls the hooks of one kind in order; gives what they returned."""
    return [await run_hook(instance, name) for name in hooks_of(type(instance), kind)]


async def run_hook(instance: object, name: str, *args: Any) -> Any:
    """Calls one hook, and awaits it if it is asynchronous."""
    result = getattr(instance, name)(*args)
    return await result if inspect.isawaitable(result) else result
