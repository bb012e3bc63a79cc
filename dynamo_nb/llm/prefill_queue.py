"""The queue of prompts whose KV cache other workers shall compute: a work queue of JetStream."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import msgspec

from dynamo_nb.errors import ConnectError
from dynamo_nb.llm.messages import TokenRequest
from dynamo_nb.sdk import dynamo_context

ACK_WAIT: Final = 2.0  # seconds of silence after which a request goes to another prefill worker
MAX_AGE: Final = 60.0  # seconds after which a request is dropped: whoever asked has computed it itself
FETCH_TIMEOUT: Final = 5.0  # seconds; of one long poll
MAX_DELIVER: Final = 4  # a prompt that kills its worker is not given to all of them


class PrefillRequest(msgspec.Struct, frozen=True):
    """A prompt, and the endpoint and instance that wait for what becomes of it."""

    request: TokenRequest
    address: str
    instance_id: int


@dataclass(frozen=True)
class Taken:
    """A request in hand. Unless it is `done` or `working` goes on, another worker gets it after ACK_WAIT."""

    asked: PrefillRequest
    message: Any

    async def working(self) -> None:
        await self.message.in_progress()

    async def done(self) -> None:
        await self.message.ack()

    async def give_back(self) -> None:
        """Another worker gets it now."""
        await self.message.nak()


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

    async def put(self, request: TokenRequest, address: str, instance_id: int) -> None:
        """Asks for a prompt to be computed; the answer goes to `address`. Raises ConnectError while NATS is away."""
        from nats.errors import Error

        try:
            await self._make()
            await self._js.publish(self.name, msgspec.msgpack.encode(PrefillRequest(request, address, instance_id)))
        except Error as error:
            self._known = False
            raise ConnectError(f"the prefill queue does not answer: {error or type(error).__name__}") from error

    async def waiting(self) -> int:
        """How many requests wait or are in hand."""
        await self._make()
        return int((await self._js.stream_info(self.name)).state.messages)

    async def taken(self) -> AsyncIterator[Taken]:
        """Requests as they come, for ever."""
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
                subscription, self._known = None, False
                continue
            for message in messages:
                yield Taken(msgspec.msgpack.decode(message.data, type=PrefillRequest), message)
