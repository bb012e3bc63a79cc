"""The base of workers that compute the KV cache of prompts for other workers."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.llm.interfaces import Prefiller
from dynamo_nb.llm.workers.engine_host import EngineHost
from dynamo_nb.llm.workers.prefill_queue import ACK_WAIT, PrefillQueue, PrefillTask
from dynamo_nb.sdk import async_on_start, dynamo_context, dynamo_endpoint

BACKOFF: Final = 1.0  # seconds for which a worker whose engine failed leaves prompts to others
AT_ONCE: Final = 2  # prompts in one engine: while one is computed, the other is received or sent


class EnginePrefiller(EngineHost, Prefiller):
    """The base of prefill workers: takes prompts from the queue and sends the results to the senders.

    A prompt goes back to the queue when this worker stops or dies.
    """

    at_once: int = AT_ONCE

    @async_on_start
    async def take_prompts(self) -> None:
        component = dynamo_context["component"]
        self._queue = PrefillQueue(f"{component.namespace}/{component.name}/queue")
        self._takers = [asyncio.create_task(self._take()) for _ in range(self.at_once)]

    async def stop_engine(self) -> None:
        for taker in self._takers:
            taker.cancel()
        await asyncio.wait(self._takers)
        await super().stop_engine()

    async def check_engine(self) -> bool:
        return await super().check_engine() and not any(taker.done() for taker in self._takers)

    @dynamo_endpoint()
    async def queue(self) -> dict[str, Any]:
        """Returns the name of the queue and how many requests wait or are being computed."""
        return {"subject": self._queue.name, "waiting": await self._queue.length()}

    async def _take(self) -> None:
        async for task in self._queue.tasks():
            heartbeat = asyncio.create_task(self._report_progress(task))
            try:
                await self._compute(task)
            except asyncio.CancelledError:
                await task.put_back()
                raise
            finally:
                heartbeat.cancel()

    async def _report_progress(self, task: PrefillTask) -> None:
        while True:
            await asyncio.sleep(ACK_WAIT / 3)
            await task.in_progress()

    async def _compute(self, task: PrefillTask) -> None:
        """Computes a prompt. After a failure of any kind the sender computes it itself, at once."""
        try:
            await task.reply(await self.engine.prefill(task.job.request))
        except InvalidArgument:
            await task.reply(None)  # the sender meets the same error, and reports it to its caller
        except DynamoError:
            await task.reply(None)
            await asyncio.sleep(BACKOFF)
