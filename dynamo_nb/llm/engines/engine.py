"""The protocol between services and engines, which every engine implements."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol, runtime_checkable

from dynamo_nb.llm.cache.log import CacheLog
from dynamo_nb.llm.messages import Load, ModelInfo, TokenDelta, TokenRequest


@runtime_checkable
class Engine(Protocol):
    """Generates tokens. One process holds one engine. `start` is called first, `stop` last, each once.

    A worker calls every method on its event loop, so that none may block: an engine that computes in this process does
    so in a thread of its own.

    Attributes:
        cache: The blocks in the KV cache and the load. The engine writes to it, routers follow it. It has no blocks if
            the engine publishes no events.
    """

    cache: CacheLog

    @property
    def info(self) -> ModelInfo:
        """The model and the limits of the engine, available after `start`."""
        ...

    async def start(self) -> None:
        """Loads the model. When it returns, the engine accepts requests.

        Raises:
            EngineError: The engine cannot start. It leaves no process behind.
        """
        ...

    def generate(self, request: TokenRequest) -> AsyncIterator[TokenDelta]:
        """Streams an answer; the last delta has a `finish`.

        Closing the iterator, or cancelling its reader, stops the work and frees its blocks at once.

        Raises:
            InvalidArgument: The request cannot be served: the prompt is too long, the adapter is unknown, the engine
                does not support a feature. Raised before the first delta.
            EngineError: The engine died.
        """
        ...

    async def prefill(self, request: TokenRequest) -> dict[str, Any]:
        """Computes the KV cache of a prompt for another engine.

        Returns:
            The value of `TokenRequest.transfer` for the other engine.

        Raises:
            InvalidArgument: The engine has no connector.
        """
        ...

    async def embed(self, tokens: list[int]) -> list[float]:
        """Returns the embedding of a text.

        Raises:
            InvalidArgument: The model does not support embeddings.
        """
        ...

    async def abort(self, request_id: str) -> None:
        """Ends a request; its stream ends with the finish "abort". Does nothing if no request has this id."""
        ...

    def load(self) -> Load:
        """Returns the current load."""
        ...

    async def health(self) -> None:
        """Returns if the engine works.

        Raises:
            EngineError: It does not.
        """
        ...

    async def stop(self) -> None:
        """Ends all requests and frees memory, GPU and processes. Also called after a `start` that failed."""
        ...
