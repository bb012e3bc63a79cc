"""Workers that hold an engine, of whatever kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import msgspec

from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.llm.cache.blocks import block_hashes
from dynamo_nb.llm.engines.engine import Engine
from dynamo_nb.llm.interfaces import Prefiller, TokenWorker
from dynamo_nb.llm.messages import ModelInfo, TokenDelta, TokenRequest, WorkerEvent
from dynamo_nb.llm.prefill_queue import (
    LONGEST_LOCAL,
    LONGEST_QUEUE,
    LONGEST_WAIT,
    PrefillQueue,
    RemotePrefill,
)
from dynamo_nb.sdk import (
    async_on_shutdown,
    async_on_start,
    depends,
    dynamo_endpoint,
    liveness,
    service,
    trace_note,
)

NAMESPACE: Final = "dynamo"


class EngineWorker(TokenWorker):
    """The base of workers: serves one engine, which `make_engine` gives.

    Linked to a Prefiller it may have prompts computed there; when none answers, it computes them itself.
    """

    prefill = depends(Prefiller, optional=True)
    remote: RemotePrefill = RemotePrefill()

    def make_engine(self) -> Engine:
        """The engine, not started."""
        raise NotImplementedError

    @async_on_start
    async def start_engine(self) -> None:
        self.engine = self.make_engine()
        self._queue = PrefillQueue(self.prefill.queue.client.path) if self.prefill is not None else None
        try:
            await self.engine.start()
        except BaseException:
            await self.engine.stop()
            raise

    @async_on_shutdown
    async def stop_engine(self) -> None:
        await self.engine.stop()

    @liveness
    async def engine_works(self) -> bool:
        await self.engine.health()
        return True

    # Processors count the workers that a request has lost: one that kills them must not get more behind their back.
    @dynamo_endpoint(retry=False)
    async def generate(self, request: TokenRequest) -> AsyncIterator[TokenDelta]:
        """The answer, as it is made. See Engine.generate for what it raises."""
        if self._queue is not None and request.transfer is None and self.remote.remote_prefill:
            request = await self._prefilled(request, self._queue)
        async with aclosing(self.engine.generate(request)) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                yield delta

    @dynamo_endpoint()
    async def embed(self, tokens: list[int]) -> list[float]:
        """The embedding of a text. Raises InvalidArgument where the model makes none."""
        return await self.engine.embed(tokens)

    @dynamo_endpoint()
    async def info(self) -> ModelInfo:
        """What it serves."""
        return self.engine.info

    @dynamo_endpoint()
    async def events(self) -> AsyncIterator[WorkerEvent]:
        """What its cache holds, and every change, for ever. See WorkerEvent."""
        self.engine.cache.loaded(self.engine.load())
        async with aclosing(self.engine.cache.follow()) as events:  # type: ignore[type-var]
            async for event in events:
                yield event

    async def _prefilled(self, request: TokenRequest, queue: PrefillQueue) -> TokenRequest:
        """The request with what its remote prefill gave, or as it was, to be computed here."""
        assert self.prefill is not None
        size = self.engine.info.block_size
        names = block_hashes(request.tokens, size, adapter=request.adapter, salt=request.salt)
        held = self.engine.cache.leading(names) * size
        if not self.remote.is_long(len(request.tokens), held):
            trace_note(prefill="local", held=held)
            return request
        if not self.prefill.queue.client.instances:
            trace_note(prefill="local: there is no prefill worker")
            return request
        try:
            async with asyncio.timeout(self.remote.timeout):
                if await queue.waiting() >= self.remote.max_prefill_queue_size:
                    trace_note(prefill="local: the prefill queue is full")
                    return request
                transfer = await queue.ask(request, self.remote.timeout)
        except (TimeoutError, DynamoError) as error:
            trace_note(prefill=f"local: {str(error) or 'the prefill workers took too long'}")
            return request
        trace_note(prefill="remote" if transfer is not None else "local: the prefill worker could not")
        return msgspec.structs.replace(request, transfer=transfer)


@service(dynamo={"namespace": NAMESPACE})
class EchoWorker(EngineWorker):
    """Answers with the prompt's own tokens, at a given pace and with an honest prefix cache: needs no model, no GPU."""

    def __init__(
        self,
        model: str = "",
        max_model_len: int = 16384,
        block_size: int = 64,
        blocks: int = 2048,
        slots: int = 64,
        tokens_per_second: float = 0.0,
        prefill_tokens_per_second: float = 0.0,
        tokens_per_delta: int = 1,
        remote_prefill: bool = False,
        conditional_disagg: bool = False,
        max_local_prefill_length: int = LONGEST_LOCAL,
        max_prefill_queue_size: int = LONGEST_QUEUE,
        prefill_timeout: float = LONGEST_WAIT,
    ) -> None:
        """See EchoEngine and RemotePrefill.

        model: a path or name with a tokenizer, for the Processor; the tiny model if "". max_model_len: tokens of prompt
        and answer together.
        """
        if max_model_len <= 0 or block_size <= 0:
            raise InvalidArgument("max_model_len and block_size are numbers of tokens", where="EchoWorker")
        self.model = model
        self.engine_options: dict[str, Any] = {
            "context": max_model_len,
            "block_size": block_size,
            "blocks": blocks,
            "slots": slots,
            "tokens_per_second": tokens_per_second,
            "prefill_tokens_per_second": prefill_tokens_per_second,
            "tokens_per_delta": tokens_per_delta,
        }
        self.remote = RemotePrefill(
            remote_prefill=remote_prefill,
            conditional_disagg=conditional_disagg,
            max_local_prefill_length=max_local_prefill_length,
            max_prefill_queue_size=max_prefill_queue_size,
            timeout=prefill_timeout,
        )

    def make_engine(self) -> Engine:
        from dynamo_nb.llm.engines.echo.engine import EchoEngine
        from dynamo_nb.llm.tiny_model import tiny_model

        return EchoEngine(model=self.model or str(tiny_model()), **self.engine_options)
