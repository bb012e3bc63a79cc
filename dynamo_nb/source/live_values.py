"""Values in the notebook's memory: state that no worker can have, and values that no cell defines."""

from __future__ import annotations

import ast
import sys
import types
from importlib import import_module

_STATE = {
    "_io._IOBase": "an open file",
    "_socket.socket": "a socket",
    "zmq.sugar.socket.Socket": "a socket",
    "threading.Thread": "a thread",
    "_thread.lock": "a lock",
    "_thread.RLock": "a lock",
    "threading.Condition": "a lock",
    "threading.Semaphore": "a lock",
    "threading.Event": "a lock",
    "builtins.generator": "a generator",
    "builtins.async_generator": "a generator",
    "builtins.coroutine": "a coroutine",
    "_asyncio.Future": "an asyncio task",
    "asyncio.events.AbstractEventLoop": "an event loop",
    "subprocess.Popen": "a process",
    "multiprocessing.process.BaseProcess": "a process",
    "sqlite3.Connection": "a connection",
}
"""Kinds of state by the name of the class, so that no library has to be imported."""
_IN_MEMORY = {"_io.StringIO", "_io.BytesIO"}


def state(value: object) -> str:
    """The kind of state that `value` is ("an open file"), or "" if a worker can create an equal value."""
    kinds = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(value).__mro__]
    if _IN_MEMORY.intersection(kinds):
        return ""
    found = next((_STATE[kind] for kind in kinds if kind in _STATE), "")
    return found or ("a connection" if type(value).__name__ == "Connection" else "")


def literal(value: object) -> str | None:
    """The Python text of a value that consists of plain values; None for other values."""
    if not _plain(value):
        return None
    text = repr(value)
    try:
        return text if ast.literal_eval(text) == value else None
    except (ValueError, SyntaxError):  # inf, nan
        return None


def _plain(value: object) -> bool:
    if type(value) in (tuple, list):
        return all(_plain(item) for item in value)  # type: ignore[attr-defined]
    if type(value) is dict:
        return all(_plain(key) and _plain(item) for key, item in value.items())
    return value is None or type(value) in (str, bytes, int, float, complex, bool)


def advice(name: str, value: object) -> str:
    """Advice for a cell that would define a value which is only in memory."""
    if isinstance(value, types.ModuleType):
        alias = "" if value.__name__ == name else f" as {name}"
        return f"put `import {value.__name__}{alias}` in a cell"
    home = getattr(value, "__module__", None)
    if home and home != "__main__" and getattr(sys.modules.get(home), name, None) is value:
        return f"put `from {home} import {name}` in a cell"
    return "define it in a cell"


def star_names(module: str) -> frozenset[str] | None:
    """The names that `from module import *` binds; None if the module cannot be imported here."""
    try:
        found = sys.modules.get(module) or import_module(module)
    except Exception:
        return None
    return frozenset(getattr(found, "__all__", None) or (name for name in vars(found) if not name.startswith("_")))
