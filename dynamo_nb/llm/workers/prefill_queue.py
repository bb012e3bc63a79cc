"""The queue of prompts whose KV cache prefill workers compute: a JetStream work queue."""

from __future__ import annotations

import asyncio
import enum
import re
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
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
ANSWER_WAIT: Final = 1.0  # seconds for the sender of a prompt to answer a question about it
PIECE: Final = 1 << 19  # bytes of one message with a part of a prompt or a result, if NATS allows that many
WAITS, LEFT = b"1", b"0"


class PrefillJob(msgspec.Struct, frozen=True):
    """An entry of the queue: a prompt that its sender holds, of any size.

    The sender answers on two subjects below `reply`: `wanted`, with WAITS or LEFT; and `prompt`, with the part of the
    encoded TokenRequest that begins at the byte in the message, or with nothing if it has left. The worker sends the
    result to `result.OFFSET`, in parts, and the last part to `end.OFFSET`: as msgpack, None or what the engine's
    connector needs. NATS carries it because a worker that drains accepts no calls but still waits for its prompts.

    Attributes:
        reply: The NATS subject of the sender.
        size: Bytes of the encoded TokenRequest.
        patience: Seconds after which no worker should begin with it.
    """

    reply: str
    size: int
    patience: float


class Sender(enum.Enum):
    """The state of the sender of a prompt: it waits, it has left, or it does not exist."""

    WAITS = enum.auto()
    LEFT = enum.auto()
    GONE = enum.auto()


@dataclass(frozen=True)
class PrefillTask:
    """A prompt that a prefill worker has taken from the queue.

    Unless the worker calls `reply`, or `in_progress` now and then, NATS delivers the prompt to another worker
    after ACK_WAIT. While NATS is unavailable the methods have no effect and do not raise.
    """

    request: TokenRequest
    job: PrefillJob
    message: Any
    nats: Any

    async def sender(self) -> Sender:
        """Returns the state of the sender."""
        from nats.errors import Error, NoRespondersError

        try:
            answer = await self.nats.request(f"{self.job.reply}.wanted", b"", timeout=ANSWER_WAIT)
        except NoRespondersError:
            return Sender.GONE
        except Error:  # the sender is busy
            return Sender.WAITS
        return Sender.WAITS if answer.data == WAITS else Sender.LEFT

    async def in_progress(self) -> None:
        """Reports to NATS that the worker is still computing."""
        await _ignoring_errors(self.message.in_progress())

    async def reply(self, transfer: dict[str, Any] | None) -> None:
        """Sends the result to the sender; None if the prompt could not be computed."""
        data = msgspec.msgpack.encode(transfer)
        size = piece_size(self.nats)
        for offset in range(0, len(data), size):
            kind = "result" if offset + size < len(data) else "end"
            subject = f"{self.job.reply}.{kind}.{offset}"
            await _ignoring_errors(self.nats.publish(subject, data[offset : offset + size]))
        await self.discard()

    async def discard(self) -> None:
        """Removes the prompt from the queue."""
        await _ignoring_errors(self.message.ack())

    async def put_back(self) -> None:
        """Returns the prompt to the queue, so that another worker gets it now."""
        await _ignoring_errors(self.message.nak())


@dataclass
class _Sent:
    """A prompt in the queue, at its sender. data: the encoded request. received: the parts of its result so far."""

    data: bytes
    result: asyncio.Future[dict[str, Any] | None]
    received: bytearray = field(default_factory=bytearray)


def piece_size(nats: Any) -> int:
    """Returns the bytes of a prompt or a result that fit into one message."""
    return min(PIECE, int(nats.max_payload))


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
        self._sent: dict[int, _Sent] = {}

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
        sent = self._sent[number] = _Sent(msgspec.msgpack.encode(request), result)
        try:
            async with self._connected():
                if not self._inbox:
                    self._inbox = self._nats.new_inbox()
                    await self._nats.subscribe(f"{self._inbox}.>", cb=self._receive)
                job = PrefillJob(f"{self._inbox}.{number}", len(sent.data), patience)
                await self._jetstream.publish(self.name, msgspec.msgpack.encode(job))
            return await result
        finally:
            del self._sent[number]

    async def _receive(self, message: Any) -> None:
        number, kind, *offset = message.subject.removeprefix(f"{self._inbox}.").split(".")
        sent = self._sent.get(int(number))
        waits = sent is not None and not sent.result.done()
        if kind == "wanted":
            await _ignoring_errors(message.respond(WAITS if waits else LEFT))
        elif kind == "prompt":
            start = int(message.data)
            piece = sent.data[start : start + piece_size(self._nats)] if sent is not None and waits else b""
            await _ignoring_errors(message.respond(piece))
        elif sent is not None and waits:
            _add_piece(sent, int(offset[0]), message.data, is_last=kind == "end")

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
                job = msgspec.msgpack.decode(message.data, type=PrefillJob)
                request = await self._fetch(job, message)
                if request is None:  # the sender has computed the prompt itself, or has gone
                    await _ignoring_errors(message.ack())
                else:
                    yield PrefillTask(request, job, message, self._nats)

    async def _fetch(self, job: PrefillJob, message: Any) -> TokenRequest | None:
        """Gets the prompt from its sender; None if the sender does not wait for it any more."""
        from nats.errors import Error, NoRespondersError

        data = bytearray()
        until = time.monotonic() + job.patience  # the time in the message is from the clock of NATS
        while len(data) < job.size:
            if time.monotonic() >= until:
                return None
            try:
                answer = await self._nats.request(f"{job.reply}.prompt", b"%d" % len(data), timeout=ANSWER_WAIT)
            except NoRespondersError:
                return None
            except Error:  # the sender is busy, or NATS is unavailable
                await _ignoring_errors(message.in_progress())
                await asyncio.sleep(REOPEN_WAIT)
                continue
            if not answer.data:
                return None
            data += answer.data
        return msgspec.msgpack.decode(data, type=TokenRequest)


def _add_piece(sent: _Sent, offset: int, data: bytes, *, is_last: bool) -> None:
    """Adds a part of a result. A worker that takes over from one that died sends all parts again."""
    del sent.received[offset:]
    is_complete = len(sent.received) == offset
    if is_complete:
        sent.received += data
    if is_last:  # without a part that was lost, there is no result
        result = msgspec.msgpack.decode(sent.received, type=dict[str, Any] | None) if is_complete else None
        sent.result.set_result(result)
