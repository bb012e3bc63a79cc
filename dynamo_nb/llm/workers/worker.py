"""Workers that answer requests with an engine of any kind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec

from dynamo_nb.errors import DynamoError
from dynamo_nb.llm.cache.blocks import block_hashes
from dynamo_nb.llm.interfaces import Prefiller, TokenWorker
from dynamo_nb.llm.messages import ModelInfo, TokenDelta, TokenRequest, WorkerEvent
from dynamo_nb.llm.remote_prefill import RemotePrefill
from dynamo_nb.llm.workers.engine_host import EngineHost
from dynamo_nb.llm.workers.prefill_queue import PrefillQueue
from dynamo_nb.sdk import async_on_start, depends, dynamo_endpoint, trace_note

logger = logging.getLogger(__name__)


class EngineWorker(RemotePrefill, EngineHost, TokenWorker):
    """The base of workers: serves the engine that `make_engine` returns.

    A worker that is linked to a Prefiller can have prompts computed there. If the Prefiller does not answer, the worker
    computes them itself.

    Args: see RemotePrefill.
    """

    prefill = depends(Prefiller, optional=True)
    _is_failing = False  # whether the last remote prefill failed

    @async_on_start
    async def open_queue(self) -> None:
        self._queue = PrefillQueue(self.prefill.queue.client.path) if self.prefill is not None else None

    # Processors count the workers that a request has lost. A retry by the runtime would give a request that kills its
    # worker to further workers without being counted.
    @dynamo_endpoint(retry=False)
    async def generate(self, request: TokenRequest) -> AsyncIterator[TokenDelta]:
        """Streams the tokens of an answer. Raises what `Engine.generate` raises."""
        if self._queue is not None and request.transfer is None and self.remote_prefill:
            request = await self._prefilled(request, self._queue)
        async with aclosing(self.engine.generate(request)) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                yield delta

    @dynamo_endpoint()
    async def embed(self, tokens: list[int]) -> list[float]:
        """Returns the embedding of a text.

        Raises:
            InvalidArgument: The model does not support embeddings.
        """
        return await self.engine.embed(tokens)

    @dynamo_endpoint()
    async def info(self) -> ModelInfo:
        """Returns the model and the limits of the engine."""
        return self.engine.info

    @dynamo_endpoint()
    async def events(self) -> AsyncIterator[WorkerEvent]:
        """Streams the content of the KV cache and then every change; the stream does not end."""
        self.engine.cache.loaded(self.engine.load())
        async with aclosing(self.engine.cache.follow()) as events:  # type: ignore[type-var]
            async for event in events:
                yield event

    async def _prefilled(self, request: TokenRequest, queue: PrefillQueue) -> TokenRequest:
        """The request with the result of its remote prefill; unchanged if this worker is to compute the prompt."""
        if request.sampling.prompt_logprobs is not None:
            trace_note(prefill="local: the log probabilities of the prompt are needed here")
            return request
        assert self.prefill is not None
        size = self.engine.info.block_size
        names = block_hashes(request.tokens, size, adapter=request.adapter, salt=request.salt)
        cached = self.engine.cache.leading(names) * size
        if not self.is_long(len(request.tokens), cached):
            trace_note(prefill="local", held=cached)
            return request
        if not self.prefill.queue.client.instances:
            trace_note(prefill="local: no prefill worker is running")
            return request
        try:
            async with asyncio.timeout(self.prefill_timeout):
                if await queue.length() >= self.max_prefill_queue_size:
                    trace_note(prefill="local: the prefill queue is full")
                    return request
                transfer = await queue.request(request, self.prefill_timeout)
        except (TimeoutError, DynamoError) as error:
            self._note_failure(str(error) or "the prefill timed out")
            return request
        if transfer is None:
            self._note_failure("the prefill worker failed")
            return request
        self._is_failing = False
        trace_note(prefill="remote")
        return msgspec.structs.replace(request, transfer=transfer)

    def _note_failure(self, reason: str) -> None:
        """Records on the trace why a prompt is computed here; in the log too if the prompt before was remote."""
        trace_note(prefill=f"local: {reason}")
        if not self._is_failing:
            self._is_failing = True
            logger.warning("prompts are computed by this worker until a prefill worker succeeds again: %s", reason)
