"""The queue of prompts whose KV cache other workers shall compute: a work queue of JetStream."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import msgspec

from dynamo_nb.errors import ConnectError
from dynamo_nb.llm.messages import TokenRequest
from dynamo_nb.sdk import dynamo_context

ACK_WAIT: Final = 2.0  # seconds of silence after which a request goes to another prefill worker
MAX_AGE: Final = 60.0  # seconds after which a request is dropped by NATS, with or without prefill workers
REOPEN_WAIT: Final = 0.1  # seconds before a queue that gave an error is asked again
FETCH_TIMEOUT: Final = 5.0  # seconds; of one long poll
MAX_DELIVER: Final = 4  # a prompt that kills its worker is not given to all of them
LONGEST_LOCAL: Final = 512  # tokens up to which a prompt is not worth the way to a prefill worker by default
LONGEST_QUEUE: Final = 64  # prompts that may wait for remote prefill by default
LONGEST_WAIT: Final = 10.0  # seconds that a prompt waits for its remote prefill by default


class RemotePrefill(msgspec.Struct, frozen=True, kw_only=True):
    """When a worker lets another compute the KV cache of a prompt.

    remote_prefill: at all, while fewer than `max_prefill_queue_size` wait. conditional_disagg: only for prompts of
    which more than `max_local_prefill_length` tokens are not in the cache here. timeout: seconds after which it is done
    here.
    """

    remote_prefill: bool = False
    conditional_disagg: bool = False
    max_local_prefill_length: int = LONGEST_LOCAL
    max_prefill_queue_size: int = LONGEST_QUEUE
    timeout: float = LONGEST_WAIT

    def is_long(self, tokens: int, held: int) -> bool:
        """Whether a prompt, of which so many tokens are in the cache here, is long enough."""
        return not self.conditional_disagg or tokens - held > self.max_local_prefill_length


class PrefillRequest(msgspec.Struct, frozen=True):
    """A prompt, and the endpoint and instance that wait for what becomes of it, for so many seconds."""

    request: TokenRequest
    address: str
    instance_id: int
    patience: float


@dataclass(frozen=True)
class Taken:
    """A request in hand. Unless it is `done` or `working` goes on, another worker gets it after ACK_WAIT.

    While NATS is away none of these has an effect, and none raises.
    """

    asked: PrefillRequest
    message: Any

    async def working(self) -> None:
        await _told(self.message.in_progress())

    async def done(self) -> None:
        await _told(self.message.ack())

    async def give_back(self) -> None:
        """Another worker gets it now."""
        await _told(self.message.nak())


async def _told(acknowledgement: Coroutine[Any, Any, None]) -> None:
    from nats.errors import Error

    with suppress(Error):
        await acknowledgement


class PrefillQueue:
    """The queue of one Prefiller component, for those who put and those who take. Made when it is first used."""

    def __init__(self, path: str) -> None:
        """path: of the Prefiller's endpoint, `namespace/component/endpoint`."""
        runtime = dynamo_context["runtime"]
        component = path.rpartition("/")[0]
        digest = blake2b(f"{runtime.graph}/{component}".encode(), digest_size=6).hexdigest()
        self.name = f"prefill-{re.sub(r'[^A-Za-z0-9_-]', '-', component)}-{digest}"
        self._js = runtime.nats.jetstream()
        self._known = False

    async def _make(self) -> None:
        from nats.js.api import RetentionPolicy, StorageType

        if not self._known:
            await self._js.add_stream(
                name=self.name,
                subjects=[self.name],
                retention=RetentionPolicy.WORK_QUEUE,
                storage=StorageType.MEMORY,
                max_age=MAX_AGE,
            )
            self._known = True

    async def put(self, asked: PrefillRequest) -> None:
        """Asks for a prompt to be computed. Raises ConnectError while NATS is away."""
        async with self._reached():
            await self._js.publish(self.name, msgspec.msgpack.encode(asked))

    async def waiting(self) -> int:
        """How many requests wait or are in hand. Raises ConnectError while NATS is away."""
        async with self._reached():
            return int((await self._js.stream_info(self.name)).state.messages)

    @asynccontextmanager
    async def _reached(self) -> AsyncIterator[None]:
        from nats.errors import Error

        try:
            await self._make()
            yield
        except Error as error:
            self._known = False  # NATS may come again without it
            raise ConnectError(f"the prefill queue does not answer: {str(error) or type(error).__name__}") from error

    async def taken(self) -> AsyncIterator[Taken]:
        """Requests as they come, for ever; without those whose time is over."""
        from nats.errors import Error
        from nats.errors import TimeoutError as NoneCame
        from nats.js.api import ConsumerConfig

        subscription = None
        while True:
            try:
                if subscription is None:
                    await self._make()
                    config = ConsumerConfig(ack_wait=ACK_WAIT, max_deliver=MAX_DELIVER)
                    subscription = await self._js.pull_subscribe(self.name, durable=self.name, config=config)
                messages = await subscription.fetch(1, timeout=FETCH_TIMEOUT)
            except NoneCame:
                continue
            except Error:  # NATS was away, and has forgotten a queue in memory
                if subscription is not None:
                    with suppress(Error):
                        await subscription.unsubscribe()
                subscription, self._known = None, False
                await asyncio.sleep(REOPEN_WAIT)
                continue
            for message in messages:
                taken = Taken(msgspec.msgpack.decode(message.data, type=PrefillRequest), message)
                if time.time() - message.metadata.timestamp.timestamp() < taken.asked.patience:
                    yield taken
                else:  # whoever asked has computed it itself
                    await taken.done()
