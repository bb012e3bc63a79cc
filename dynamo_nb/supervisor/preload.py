"""Speeds up the imports of the fork server, which imports this module first. No other process imports it."""

import gc
import importlib
import sys
from importlib.util import find_spec
from typing import Any

gc.disable()  # imports leave no garbage, and collections take a sixth of their time; workers enable them again


class _LazyModule:
    """A module that is imported when one of its attributes is first used."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._module), name)


# nats-py imports aiohttp where it is installed, a fifth of a second, and uses it for websockets alone.
if find_spec("aiohttp") is not None:
    sys.modules["aiohttp"] = None  # type: ignore[assignment]  # an import of it fails from here on
    try:
        import nats.aio.transport
    finally:
        del sys.modules["aiohttp"]
    nats.aio.transport.aiohttp = _LazyModule("aiohttp")
