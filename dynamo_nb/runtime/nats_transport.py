"""A transport over NATS, for networks without direct connections: the same frames, sent to subjects.

A connection consists of two subjects, one for each direction. Its bytes are sent in numbered packets, so that a packet
lost by NATS ends the connection. The number of unconfirmed bytes is limited: a slow peer must not fill the memory of
the NATS server, which would disconnect the whole process. No kernel reports that a peer has ended, so each end sends
pings, and treats silence as the end.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from contextlib import suppress
from typing import Any, Final

OPEN: Final = 0  # to the worker's subject; the reply subject is the caller's
ACCEPT: Final = 1  # the reply subject is the worker's, for this connection
DATA: Final = 2
CONFIRM: Final = 3  # its number is the count of bytes received so far
PING: Final = 4
CLOSE: Final = 5

HEAD: Final = struct.Struct("<BQ")  # kind and number
CHUNK: Final = 256 * 1024  # bytes of one packet; fewer if the server has a lower limit
UNCONFIRMED: Final = 4 * 1024 * 1024  # bytes that may be in flight
CONFIRM_EVERY: Final = UNCONFIRMED // 8  # bytes
PINGS: Final = 3  # in the time after which a silent peer counts as lost
INBOX: Final = "_INBOX."  # prefix that a reply subject must have: a peer must not make this process write elsewhere


class NatsTransport(asyncio.Transport):
    """One end of a connection.

    Args:
        nats: A connected client of NATS.
        protocol: The protocol that uses this transport.
        peer: Subject to which this end sends; replaced when the peer accepts.
        silence: Seconds after which a silent peer counts as lost.

    Attributes:
        subscription: NATS subscription to this end's own subject.
        accepted: Done when the peer has accepted; has the error if it did not.
    """

    def __init__(self, nats: Any, protocol: asyncio.BaseProtocol, peer: str, silence: float) -> None:
        super().__init__({"peername": peer})
        self._nats, self._protocol, self._peer, self._silence = nats, protocol, peer, silence
        self._loop = asyncio.get_running_loop()
        self._connected = self._closing = self._lost = False
        self._reading = True
        self._arrived: deque[bytes] = deque()  # while reading is paused
        self._next = self._received = self._confirmed = 0  # number of the next packet; bytes received, and confirmed
        self._queue: deque[memoryview] = deque()
        self._queued = self._sent = self._sent_confirmed = self._number = 0
        self._high, self._low, self._paused = 64 * 1024, 0, False
        self._wake = asyncio.Event()
        self._last_message = self._loop.time()
        self.subscription: Any = None
        self.accepted: asyncio.Future[None] = self._loop.create_future()
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, peer: str) -> None:
        """Starts the connection. peer: subject to which this end sends from now on."""
        self._peer, self._connected = peer, True
        self._tasks = [self._loop.create_task(self._write()), self._loop.create_task(self._watch())]
        self._protocol.connection_made(self)
        if not self.accepted.done():
            self.accepted.set_result(None)

    # --- reading

    async def receive(self, message: Any) -> None:
        """Processes one message of the subscription."""
        if self._lost:
            return
        self._last_message = self._loop.time()
        if message.headers and message.headers.get("Status") == "503":
            self._fail(ConnectionRefusedError("no worker listens at this subject"))
            return
        try:
            kind, number = HEAD.unpack_from(message.data)
        except struct.error:
            self._fail(ConnectionResetError("a message that is not a packet"))
            return
        if kind == ACCEPT and not self.accepted.done() and message.reply.startswith(INBOX):
            self.begin(message.reply)
        elif kind == DATA and self._connected:
            if number != self._next:
                self._fail(ConnectionResetError("NATS lost a packet"))
                return
            self._next += 1
            self._arrived.append(message.data)
            self._deliver()
        elif kind == CONFIRM:
            self._sent_confirmed = max(self._sent_confirmed, min(number, self._sent))
            self._wake.set()
        elif kind == CLOSE:
            self._fail(None)

    def _deliver(self) -> None:
        while self._arrived and self._reading and not self._lost and not self._closing:
            data = memoryview(self._arrived.popleft())[HEAD.size :]
            self._received += len(data)
            while data and not self._closing:
                if isinstance(self._protocol, asyncio.BufferedProtocol):
                    space = memoryview(self._protocol.get_buffer(-1))
                    size = min(len(space), len(data))
                    space[:size] = data[:size]
                    self._protocol.buffer_updated(size)
                else:
                    assert isinstance(self._protocol, asyncio.Protocol)
                    size = len(data)
                    self._protocol.data_received(bytes(data))
                data = data[size:]
        if self._received - self._confirmed >= CONFIRM_EVERY:
            self._wake.set()

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._loop.call_soon(self._deliver)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    # --- writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        self._queue.append(memoryview(data).cast("B"))
        self._queued += len(data)
        self._wake.set()
        if self._queued > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return self._queued

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    async def _write(self) -> None:
        size = min(CHUNK, self._nats.max_payload - HEAD.size)
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._received - self._confirmed >= CONFIRM_EVERY:
                    self._confirmed = self._received
                    await self._publish(CONFIRM, self._received)
                while self._queue and self._sent - self._sent_confirmed < UNCONFIRMED:
                    parts, length = [], 0
                    while self._queue and length < size:
                        part = self._queue.popleft()
                        if len(part) > size - length:
                            self._queue.appendleft(part[size - length :])
                            part = part[: size - length]
                        parts.append(part)
                        length += len(part)
                    self._number += 1
                    self._sent += length
                    await self._publish(DATA, self._number - 1, b"".join(parts))
                    self._queued -= length
                    if self._paused and self._queued <= self._low:
                        self._paused = False
                        self._protocol.resume_writing()
                if self._closing and not self._queue:
                    self._fail(None)
                    return
        except Exception as error:
            self._fail(error)

    async def _publish(self, kind: int, number: int, data: bytes = b"") -> None:
        await self._nats.publish(self._peer, HEAD.pack(kind, number) + data)

    async def _watch(self) -> None:
        """Sends pings, and ends the connection if the peer is silent for too long."""
        period = self._silence / PINGS
        while True:
            due = self._loop.time() + period
            await asyncio.sleep(period)
            if self._loop.time() > due + period:
                self._last_message = self._loop.time()  # this loop was blocked and could not receive
            if self._loop.time() - self._last_message > self._silence:
                self._fail(ConnectionResetError("the peer is silent"))
                return
            with suppress(Exception):  # without NATS the peer becomes silent too
                await self._publish(PING, 0)

    # --- the end

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        self._wake.set()

    def abort(self) -> None:
        self._fail(None)

    def _fail(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._queue.clear()
        for task in self._tasks:
            task.cancel()
        if self._connected:
            self._loop.call_soon(self._protocol.connection_lost, error)
        elif not self.accepted.done():
            self.accepted.set_exception(error or ConnectionResetError("the connection was closed"))
        self._tasks = [self._loop.create_task(self._leave())]

    async def _leave(self) -> None:
        with suppress(Exception):  # the connection to NATS may have ended itself
            await self._publish(CLOSE, 0)
            await self.subscription.unsubscribe()
