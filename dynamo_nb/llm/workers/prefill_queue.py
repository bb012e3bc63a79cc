"""The queue of prompts whose KV cache prefill workers compute: a JetStream work queue."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from typing import Any, Final

import msgspec

from dynamo_nb.errors import ConnectError
from dynamo_nb.llm.messages import TokenRequest
from dynamo_nb.sdk import dynamo_context

ACK_WAIT: Final = 2.0  # seconds without a sign of progress, after which NATS delivers a prompt to another worker
MAX_AGE: Final = 60.0  # seconds after which NATS drops a prompt, with or without prefill workers
REOPEN_WAIT: Final = 0.1  # seconds between attempts to open a queue that failed
FETCH_TIMEOUT: Final = 5.0  # seconds of one long poll
MAX_DELIVER: Final = 4  # deliveries of one prompt: a prompt that kills its worker does not reach all of them
WANTED_WAIT: Final = 1.0  # seconds for the sender of a prompt to confirm that it still waits
WANTED, UNWANTED = b"1", b"0"


class PrefillJob(msgspec.Struct, frozen=True):
    """A prompt in the queue.

    An empty message to the reply subject asks whether the result is still wanted. Any other message is the result as
    msgpack: None, or what the engine's connector needs. NATS carries it because a worker that drains accepts no calls
    but still waits for its prompts.

    Attributes:
        request: The request whose prompt is computed.
        reply: The NATS subject on which the sender waits for the result.
        patience: Seconds after which no worker should begin with it.
    """

    request: TokenRequest
    reply: str
    patience: float


@dataclass(frozen=True)
class PrefillTask:
    """A prompt that a prefill worker has taken from the queue.

    Unless the worker calls `reply`, or `in_progress` now and then, NATS delivers the prompt to another worker
    after ACK_WAIT. While NATS is unavailable the methods have no effect and do not raise.
    """

    job: PrefillJob
    message: Any
    nats: Any

    async def is_wanted(self) -> bool:
        """Returns whether the sender still waits for the result."""
        from nats.errors import Error, NoRespondersError

        try:
            answer = await self.nats.request(self.job.reply, b"", timeout=WANTED_WAIT)
        except NoRespondersError:
            return False
        except Error:  # the sender is busy
            return True
        return bool(answer.data == WANTED)

    async def in_progress(self) -> None:
        """Reports to NATS that the worker is still computing."""
        await _ignoring_errors(self.message.in_progress())

    async def reply(self, transfer: dict[str, Any] | None) -> None:
        """Sends the result to the sender; None if the prompt could not be computed."""
        await _ignoring_errors(self.nats.publish(self.job.reply, msgspec.msgpack.encode(transfer)))
        await self.discard()

    async def discard(self) -> None:
        """Removes the prompt from the queue."""
        await _ignoring_errors(self.message.ack())

    async def put_back(self) -> None:
        """Returns the prompt to the queue, so that another worker gets it now."""
        await _ignoring_errors(self.message.nak())


async def _ignoring_errors(sending: Coroutine[Any, Any, None]) -> None:
    from nats.errors import Error

    with suppress(Error):
        await sending


class PrefillQueue:
    """The queue of one Prefiller component, for senders and for prefill workers. Created in NATS at its first use."""

    def __init__(self, path: str) -> None:
        """Names the queue.

        Args:
            path: The path of the Prefiller's endpoint, `namespace/component/endpoint`.
        """
        runtime = dynamo_context["runtime"]
        component = path.rpartition("/")[0]
        graph = "" if runtime.shared else runtime.graph  # services served one by one share the queue of that name
        digest = blake2b(f"{graph}/{component}".encode(), digest_size=6).hexdigest()
        self.name = f"prefill-{re.sub(r'[^A-Za-z0-9_-]', '-', component)}-{digest}"
        self._nats = runtime.nats
        self._jetstream = self._nats.jetstream()
        self._created = False
        self._inbox = ""
        self._numbers = count()
        self._pending: dict[int, asyncio.Future[dict[str, Any] | None]] = {}

    async def _create(self) -> None:
        from nats.js.api import RetentionPolicy, StorageType

        if not self._created:
            await self._jetstream.add_stream(
                name=self.name,
                subjects=[self.name],
                retention=RetentionPolicy.WORK_QUEUE,
                storage=StorageType.MEMORY,
                max_age=MAX_AGE,
            )
            self._created = True

    async def request(self, request: TokenRequest, patience: float) -> dict[str, Any] | None:
        """Puts a prompt in the queue and returns the result.

        Args:
            request: The request whose prompt is to be computed.
            patience: Seconds after which no worker should begin with it.

        Returns:
            What `Engine.prefill` returned in the prefill worker; None if it failed there.

        Raises:
            ConnectError: NATS is unavailable.
        """
        number = next(self._numbers)
        result: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._pending[number] = result
        try:
            async with self._connected():
                if not self._inbox:
                    self._inbox = self._nats.new_inbox()
                    await self._nats.subscribe(f"{self._inbox}.*", cb=self._receive)
                job = PrefillJob(request, f"{self._inbox}.{number}", patience)
                await self._jetstream.publish(self.name, msgspec.msgpack.encode(job))
            return await result
        finally:
            del self._pending[number]

    async def _receive(self, message: Any) -> None:
        result = self._pending.get(int(message.subject.rpartition(".")[2]))
        waits = result is not None and not result.done()
        if not message.data:
            await _ignoring_errors(message.respond(WANTED if waits else UNWANTED))
        elif result is not None and waits:
            result.set_result(msgspec.msgpack.decode(message.data, type=dict[str, Any] | None))

    async def length(self) -> int:
        """Returns how many prompts wait or are being computed. Raises ConnectError while NATS is unavailable."""
        async with self._connected():
            return int((await self._jetstream.stream_info(self.name)).state.messages)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        from nats.errors import Error

        try:
            await self._create()
            yield
        except Error as error:
            self._created = False  # NATS may have restarted without it
            raise ConnectError(f"the prefill queue is unavailable: {str(error) or type(error).__name__}") from error

    async def tasks(self) -> AsyncIterator[PrefillTask]:
        """Yields prompts as they arrive, until the current task is cancelled. Skips prompts that are not wanted."""
        from nats.errors import Error
        from nats.errors import TimeoutError as NoMessage
        from nats.js.api import ConsumerConfig

        current, subscription = asyncio.current_task(), None
        assert current is not None
        while not current.cancelling():  # the NATS client sometimes swallows a cancellation
            try:
                if subscription is None:
                    await self._create()
                    config = ConsumerConfig(ack_wait=ACK_WAIT, max_deliver=MAX_DELIVER)
                    subscription = await self._jetstream.pull_subscribe(self.name, durable=self.name, config=config)
                messages = await subscription.fetch(1, timeout=FETCH_TIMEOUT)
            except NoMessage:
                continue
            except Error:  # a restart of NATS loses a queue in memory
                if subscription is not None:
                    with suppress(Error):
                        await subscription.unsubscribe()
                subscription, self._created = None, False
                await asyncio.sleep(REOPEN_WAIT)
                continue
            for message in messages:
                task = PrefillTask(msgspec.msgpack.decode(message.data, type=PrefillJob), message, self._nats)
                is_late = time.time() - message.metadata.timestamp.timestamp() >= task.job.patience
                if is_late or not await task.is_wanted():
                    await task.discard()  # the sender has computed the prompt itself, or has gone
                else:
                    yield task
