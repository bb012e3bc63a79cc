"""What an engine is to the services: one protocol, which each kind of engine implements."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol, runtime_checkable

from dynamo_nb.llm.cache.log import CacheLog
from dynamo_nb.llm.messages import Load, ModelInfo, TokenDelta, TokenRequest


@runtime_checkable
class Engine(Protocol):
    """Generates tokens. One process holds one engine; `start` comes first, `stop` last, each once.

    A worker calls all of it on its event loop, on which nothing may take long: an engine that computes in this process
    does so in a thread of its own.
    """

    cache: CacheLog
    """What its cache holds: written by the engine, followed by routers. Stays empty where it has no events."""

    @property
    def info(self) -> ModelInfo:
        """What it serves. Known once it has started."""
        ...

    async def start(self) -> None:
        """Loads the model; returns when requests may come. Raises EngineError and leaves no process."""
        ...

    def generate(self, request: TokenRequest) -> AsyncIterator[TokenDelta]:
        """The answer, as it is made. The last delta has a `finish`.

        Closing the iterator, or cancelling who iterates it, stops the work and frees its blocks at once.
        Raises InvalidArgument for a request that cannot be served (too long, an unknown adapter, a feature that it does
        not have) before the first delta, and EngineError when the engine dies.
        """
        ...

    async def prefill(self, request: TokenRequest) -> dict[str, Any]:
        """Computes the KV cache of a prompt for another engine; gives what that one's `transfer` has to be.

        Raises InvalidArgument where the engine has no connector.
        """
        ...

    async def embed(self, tokens: list[int]) -> list[float]:
        """The embedding of a text. Raises InvalidArgument where the model makes none."""
        ...

    async def abort(self, request_id: str) -> None:
        """Ends a request, whose stream then ends with the finish "abort". One that is not there is no error."""
        ...

    def load(self) -> Load:
        """What it is busy with now."""
        ...

    async def health(self) -> None:
        """Returns while the engine works, raises EngineError when it does not."""
        ...

    async def stop(self) -> None:
        """Ends what runs, and frees its memory, its GPU and its processes. Also after a `start` that failed."""
        ...
