"""The base of workers that compute the KV cache of prompts for other workers."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.llm.interfaces import Prefiller
from dynamo_nb.llm.workers.engine_host import EngineHost
from dynamo_nb.llm.workers.prefill_queue import PrefillQueue, PrefillTask, Sender
from dynamo_nb.sdk import async_on_start, dynamo_context, dynamo_endpoint

BACKOFF: Final = 1.0  # seconds for which a worker whose engine failed leaves prompts to others
SENDER_INTERVAL: Final = 0.25  # seconds between questions to the sender of a prompt that is being computed
GONE_LIMIT: Final = 4  # questions in a row for which a sender does not exist; its connection may just be opened again
AT_ONCE: Final = 2  # prompts in one engine: while one is computed, the other is received or sent


class EnginePrefiller(EngineHost, Prefiller):
    """The base of prefill workers: takes prompts from the queue and sends the results to the senders.

    A prompt goes back to the queue when this worker stops or dies. It is not computed to its end when its sender does
    not wait for the result any more.
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
            computing = asyncio.create_task(self._compute(task))
            watching = asyncio.create_task(self._watch(task, computing))
            try:
                await asyncio.wait([computing])
            except asyncio.CancelledError:
                computing.cancel()
                await asyncio.wait([computing])
                await task.put_back()
                raise
            finally:
                watching.cancel()
            if computing.cancelled():
                await task.discard()
            elif not computing.result():
                await asyncio.sleep(BACKOFF)

    async def _watch(self, task: PrefillTask, computing: asyncio.Task[bool]) -> None:
        """Reports progress to NATS, and ends the computation when the sender does not wait for it any more."""
        gone = 0
        while gone < GONE_LIMIT:
            await asyncio.sleep(SENDER_INTERVAL)
            sender = await task.sender()
            if sender is Sender.LEFT:
                break
            gone = gone + 1 if sender is Sender.GONE else 0
            await task.in_progress()
        computing.cancel()

    async def _compute(self, task: PrefillTask) -> bool:
        """Computes a prompt. After a failure of any kind the sender computes it itself, at once.

        Returns:
            False if the engine failed.
        """
        try:
            await task.reply(await self.engine.prefill(task.request))
        except InvalidArgument:
            await task.reply(None)  # the sender meets the same error, and reports it to its caller
        except DynamoError:
            await task.reply(None)
            return False
        return True
