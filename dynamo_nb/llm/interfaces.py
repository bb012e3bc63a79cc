"""What the services of an LLM graph are to each other: any that has these endpoints can be linked in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

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


class TextProcessor(AbstractService):
    """Turns text into tokens and back: `processor = depends(TextProcessor)`, filled by `.link(Processor)`."""

    @abstract_endpoint
    async def generate(self, request: TextRequest) -> AsyncIterator[TextDelta]:
        """The answer to a chat or a prompt, as it is made."""
        raise NotImplementedError

    @abstract_endpoint
    async def embed(self, request: TextRequest) -> Embedding:
        """The embedding of a prompt."""
        raise NotImplementedError

    @abstract_endpoint
    async def models(self) -> list[ServedModel]:
        """The names by which requests may ask for it: the model's own, and one for each LoRA adapter."""
        raise NotImplementedError


class TokenWorker(AbstractService):
    """A worker that holds an engine: `worker = depends(TokenWorker)`, filled by `.link(VllmWorker)`."""

    @abstract_endpoint
    async def generate(self, request: TokenRequest) -> AsyncIterator[TokenDelta]:
        """The answer, as it is made."""
        raise NotImplementedError

    @abstract_endpoint
    async def embed(self, tokens: list[int]) -> list[float]:
        """The embedding of a text."""
        raise NotImplementedError

    @abstract_endpoint
    async def info(self) -> ModelInfo:
        """What it serves."""
        raise NotImplementedError

    @abstract_endpoint
    async def events(self) -> AsyncIterator[WorkerEvent]:
        """What its cache holds, and every change, for ever."""
        raise NotImplementedError


class TokenRouter(AbstractService):
    """Knows which worker holds which blocks: `router = depends(TokenRouter)`, filled by `.link(Router)`."""

    @abstract_endpoint
    async def place(self, request: TokenRequest, avoid: list[int]) -> AsyncIterator[Placement]:
        """One placement, after which the stream stays open: the request counts as running until it is closed."""
        raise NotImplementedError

    @abstract_endpoint
    async def info(self) -> ModelInfo:
        """What the workers behind it serve."""
        raise NotImplementedError


class Prefiller(AbstractService):
    """Computes the KV cache of long prompts for other workers, from a queue."""

    @abstract_endpoint
    async def queue(self) -> dict[str, Any]:
        """Where requests are put, and how many wait: `{"subject": …, "waiting": …}`."""
        raise NotImplementedError
