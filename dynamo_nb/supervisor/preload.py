"""The first module of the process that workers are forked from, and of no other: how that process imports the rest."""

import gc
import importlib
import sys
from importlib.util import find_spec
from typing import Any

gc.disable()  # imports leave no garbage, and looking for it takes a sixth of their time; workers enable it again


class _WhenUsed:
    """Stands for a module until something of it is asked for."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._module), name)


# nats-py imports aiohttp where it is installed, a fifth of a second, and uses it for websockets alone.
if find_spec("aiohttp") is not None:
    sys.modules["aiohttp"] = None  # type: ignore[assignment]  # not installed, for those who import it now
    try:
        import nats.aio.transport
    finally:
        del sys.modules["aiohttp"]
    nats.aio.transport.aiohttp = _WhenUsed("aiohttp")
