"""The queue of prompts whose KV cache other workers shall compute: a work queue of JetStream."""

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

ACK_WAIT: Final = 2.0  # seconds of silence after which a request goes to another prefill worker
MAX_AGE: Final = 60.0  # seconds after which a request is dropped by NATS, with or without prefill workers
REOPEN_WAIT: Final = 0.1  # seconds before a queue that gave an error is asked again
FETCH_TIMEOUT: Final = 5.0  # seconds; of one long poll
MAX_DELIVER: Final = 4  # a prompt that kills its worker is not given to all of them
WANTED_WAIT: Final = 1.0  # seconds for whoever asked to say that he still waits
WANTED, UNWANTED = b"1", b"0"
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
    """A prompt, and the subject on which somebody waits for what becomes of it, for so many seconds.

    An empty message there asks whether it is still wanted. Another one is the answer, in msgpack: None, or what the
    engine's connector needs. NATS carries it, since a worker that drains takes no calls and still waits for this one.
    """

    request: TokenRequest
    reply: str
    patience: float


@dataclass(frozen=True)
class Taken:
    """A request in hand. Unless it is `answered` or `working` goes on, another worker gets it after ACK_WAIT.

    While NATS is away none of these has an effect, and none raises.
    """

    asked: PrefillRequest
    message: Any
    nats: Any

    async def wanted(self) -> bool:
        """Whether somebody still waits for it."""
        from nats.errors import Error, NoRespondersError

        try:
            answer = await self.nats.request(self.asked.reply, b"", timeout=WANTED_WAIT)
        except NoRespondersError:
            return False
        except Error:  # who waits is busy
            return True
        return bool(answer.data == WANTED)

    async def working(self) -> None:
        await _told(self.message.in_progress())

    async def answered(self, transfer: dict[str, Any] | None) -> None:
        """Tells who waits what has become of it: None if it could not be computed."""
        await _told(self.nats.publish(self.asked.reply, msgspec.msgpack.encode(transfer)))
        await self.done()

    async def done(self) -> None:
        """Nobody gets it any more."""
        await _told(self.message.ack())

    async def give_back(self) -> None:
        """Another worker gets it now."""
        await _told(self.message.nak())


async def _told(telling: Coroutine[Any, Any, None]) -> None:
    from nats.errors import Error

    with suppress(Error):
        await telling


class PrefillQueue:
    """The queue of one Prefiller component, for those who put and those who take. Made when it is first used."""

    def __init__(self, path: str) -> None:
        """path: of the Prefiller's endpoint, `namespace/component/endpoint`."""
        runtime = dynamo_context["runtime"]
        component = path.rpartition("/")[0]
        graph = "" if runtime.shared else runtime.graph  # what is served one by one has one queue, as it has one name
        digest = blake2b(f"{graph}/{component}".encode(), digest_size=6).hexdigest()
        self.name = f"prefill-{re.sub(r'[^A-Za-z0-9_-]', '-', component)}-{digest}"
        self._nats = runtime.nats
        self._js = self._nats.jetstream()
        self._known = False
        self._inbox = ""
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[dict[str, Any] | None]] = {}

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

    async def ask(self, request: TokenRequest, patience: float) -> dict[str, Any] | None:
        """What some prefill worker makes of a prompt, as `Engine.prefill` gave it; None if it could not.

        patience: seconds after which nobody is to begin with it. Raises ConnectError while NATS is away.
        """
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            async with self._reached():
                if not self._inbox:
                    self._inbox = self._nats.new_inbox()
                    await self._nats.subscribe(f"{self._inbox}.*", cb=self._heard)
                asked = PrefillRequest(request, f"{self._inbox}.{number}", patience)
                await self._js.publish(self.name, msgspec.msgpack.encode(asked))
            return await answer
        finally:
            del self._asked[number]

    async def _heard(self, message: Any) -> None:
        answer = self._asked.get(int(message.subject.rpartition(".")[2]))
        waits = answer is not None and not answer.done()
        if not message.data:
            await _told(message.respond(WANTED if waits else UNWANTED))
        elif answer is not None and waits:
            answer.set_result(msgspec.msgpack.decode(message.data, type=dict[str, Any] | None))

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
        """Requests as they come, until the task is cancelled; without those that nobody waits for any more."""
        from nats.errors import Error
        from nats.errors import TimeoutError as NoneCame
        from nats.js.api import ConsumerConfig

        task, subscription = asyncio.current_task(), None
        assert task is not None
        while not task.cancelling():  # which NATS's client now and then forgets
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
                taken = Taken(msgspec.msgpack.decode(message.data, type=PrefillRequest), message, self._nats)
                late = time.time() - message.metadata.timestamp.timestamp() >= taken.asked.patience
                if late or not await taken.wanted():
                    await taken.done()  # whoever asked has computed it itself, or has gone
                else:
                    yield taken
