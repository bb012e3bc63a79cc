"""The base of services that hold an engine: starts it, checks its health, stops it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from dynamo_nb.llm.engines.engine import Engine
from dynamo_nb.sdk import async_on_shutdown, async_on_start, liveness

Options = TypeVar("Options")


class EngineHost:
    """Holds one engine for the life of a worker, as `self.engine`."""

    def make_engine(self) -> Engine:
        """Returns the engine, not started. A subclass must override this."""
        raise NotImplementedError

    @classmethod
    def dynamo_check_config(cls, **arguments: Any) -> None:
        """Raises what a worker would refuse. The dry run calls it with the arguments of the constructor."""
        cls(**arguments).make_engine()

    @async_on_start
    async def start_engine(self) -> None:
        self.engine = self.make_engine()
        try:
            await self.engine.start()
        except BaseException:
            await self.engine.stop()
            raise

    @async_on_shutdown
    async def stop_engine(self) -> None:
        await self.engine.stop()

    @liveness
    async def check_engine(self) -> bool:
        await self.engine.health()
        return True


def options_of(service: Any, kind: type[Options]) -> Options:
    """Returns the options of an engine from the configuration of a service. The tiny model replaces an empty `model`.

    Args:
        service: A service whose class inherits from `kind`.
        kind: A dataclass of options, one of them `model`.
    """
    from dynamo_nb.llm.tiny import tiny_model

    options = {option.name: getattr(service, option.name) for option in fields(kind)}  # type: ignore[arg-type]
    return kind(**options | {"model": service.model or str(tiny_model())})
