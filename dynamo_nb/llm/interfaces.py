"""Interfaces between the services of an LLM graph: a service with these endpoints can be linked in their place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from dynamo_nb.llm.messages import (
    Embedding,
    ModelInfo,
    Placement,
    ServedModel,
    TextDelta,
    TextRequest,
    TokenDelta,
    TokenRequest,
    WorkerEvent,
)
from dynamo_nb.sdk import AbstractService, abstract_endpoint

NAMESPACE: Final = "dynamo"
"""The namespace in which the services behind the frontend register."""


class TextProcessor(AbstractService):
    """Turns text into tokens and tokens into text.

    Example:
        `processor = depends(TextProcessor)`, filled by `.link(Processor)`.
    """

    @abstract_endpoint
    async def generate(self, request: TextRequest) -> AsyncIterator[TextDelta]:
        """Streams the answer to a chat or a prompt."""
        raise NotImplementedError

    @abstract_endpoint
    async def embed(self, request: TextRequest) -> Embedding:
        """Returns the embedding of a prompt."""
        raise NotImplementedError

    @abstract_endpoint
    async def models(self) -> list[ServedModel]:
        """Returns the names that requests may use: the model's own, and one for each LoRA adapter."""
        raise NotImplementedError


class TokenWorker(AbstractService):
    """A worker that holds an engine.

    Example:
        `worker = depends(TokenWorker)`, filled by `.link(VllmWorker)`.
    """

    @abstract_endpoint
    async def generate(self, request: TokenRequest) -> AsyncIterator[TokenDelta]:
        """Streams the tokens of an answer."""
        raise NotImplementedError

    @abstract_endpoint
    async def embed(self, tokens: list[int]) -> list[float]:
        """Returns the embedding of a text."""
        raise NotImplementedError

    @abstract_endpoint
    async def info(self) -> ModelInfo:
        """Returns the model and the limits of the engine."""
        raise NotImplementedError

    @abstract_endpoint
    async def events(self) -> AsyncIterator[WorkerEvent]:
        """Streams the content of the KV cache and then every change; the stream does not end."""
        raise NotImplementedError


class TokenRouter(AbstractService):
    """Knows which worker holds which KV blocks, and chooses a worker for each request.

    Example:
        `router = depends(TokenRouter)`, filled by `.link(Router)`.
    """

    @abstract_endpoint
    async def place(self, request: TokenRequest, avoid: list[int]) -> AsyncIterator[Placement]:
        """Streams one placement and then stays open: the request counts as running until the caller closes it."""
        raise NotImplementedError

    @abstract_endpoint
    async def info(self) -> ModelInfo:
        """Returns the model and the limits of the workers behind the router."""
        raise NotImplementedError


class Prefiller(AbstractService):
    """Computes the KV cache of long prompts for other workers, which send the prompts through a queue."""

    @abstract_endpoint
    async def queue(self) -> dict[str, Any]:
        """Returns the name and the length of the queue: `{"subject": …, "waiting": …}`."""
        raise NotImplementedError
