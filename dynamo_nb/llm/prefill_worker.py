"""Workers that compute the KV cache of prompts for others."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.llm.engines.engine import Engine
from dynamo_nb.llm.interfaces import Prefiller
from dynamo_nb.llm.prefill_queue import ACK_WAIT, PrefillQueue, Taken
from dynamo_nb.llm.worker import NAMESPACE, EchoWorker
from dynamo_nb.sdk import async_on_shutdown, async_on_start, dynamo_context, dynamo_endpoint, liveness, service

BROKEN_WAIT: Final = 1.0  # seconds in which an engine that failed leaves prompts to others
AT_ONCE: Final = 2  # prompts in one engine: one is computed while the other is taken and sent


class EnginePrefiller(Prefiller):
    """The base of prefill workers: takes prompts from the queue, and tells the worker that asked what came of it.

    A prompt goes back to the queue when this worker stops or dies.
    """

    at_once: int = AT_ONCE

    def make_engine(self) -> Engine:
        """The engine, not started."""
        raise NotImplementedError

    @async_on_start
    async def start_engine(self) -> None:
        self.engine = self.make_engine()
        try:
            await self.engine.start()
        except BaseException:
            await self.engine.stop()
            raise
        component = dynamo_context["component"]
        self._queue = PrefillQueue(f"{component.namespace}/{component.name}/queue")
        self._takers = [asyncio.create_task(self._take()) for _ in range(self.at_once)]

    @async_on_shutdown
    async def stop_engine(self) -> None:
        for taker in self._takers:
            taker.cancel()
        await asyncio.wait(self._takers)
        await self.engine.stop()

    @liveness
    async def engine_works(self) -> bool:
        await self.engine.health()
        return not any(taker.done() for taker in self._takers)

    @dynamo_endpoint()
    async def queue(self) -> dict[str, Any]:
        """The queue's name, and how many requests wait or are in hand."""
        return {"subject": self._queue.name, "waiting": await self._queue.waiting()}

    async def _take(self) -> None:
        async for taken in self._queue.taken():
            working = asyncio.create_task(self._say_that_it_works(taken))
            try:
                await self._serve(taken)
            except asyncio.CancelledError:
                await taken.give_back()
                raise
            finally:
                working.cancel()

    async def _say_that_it_works(self, taken: Taken) -> None:
        while True:
            await asyncio.sleep(ACK_WAIT / 3)
            await taken.working()

    async def _serve(self, taken: Taken) -> None:
        """What cannot be computed here, whatever the cause, is computed at once by the worker that asked."""
        try:
            await taken.answered(await self.engine.prefill(taken.asked.request))
        except InvalidArgument:
            await taken.answered(None)  # the worker that asked finds out by itself, and tells its caller
        except DynamoError:
            await taken.answered(None)
            await asyncio.sleep(BROKEN_WAIT)


@service(dynamo={"namespace": NAMESPACE})
class EchoPrefillWorker(EnginePrefiller):
    """Prefill for EchoWorkers."""

    def __init__(
        self,
        model: str = "",
        max_model_len: int = 16384,
        block_size: int = 64,
        blocks: int = 2048,
        prefill_tokens_per_second: float = 0.0,
    ) -> None:
        """See EchoWorker."""
        self._worker = EchoWorker(
            model=model,
            max_model_len=max_model_len,
            block_size=block_size,
            blocks=blocks,
            prefill_tokens_per_second=prefill_tokens_per_second,
        )

    def make_engine(self) -> Engine:
        return self._worker.make_engine()
