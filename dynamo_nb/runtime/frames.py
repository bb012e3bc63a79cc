"""Frames: what is said on a connection between a client and a worker.

A frame is four bytes of length (little endian) and a msgpack array `[kind, stream, ...]`:

    HELLO   0, version [, ...]              the first frame of each end; see `handshake`
    OPEN    stream, path, args, kwargs, headers
    ITEM    stream, value
    END     stream [, value]                a single answer is one END with its value; a stream ends without one
    ERROR   stream, error, retry            error as `errors.to_wire` gives it; retry: nothing was done, ask another
    CANCEL  stream
    CREDIT  stream, credit                  the caller has taken items of this cost, and allows as many again

Streams are numbered by the client. Frames written in one turn of the event loop leave in one write.

A stream begins with credit for WINDOW. An item costs its frame's bytes and ITEM_COST, so that credit bounds the number
of items too; the last item may overdraw it. So a caller that reads slowly holds one window of a stream and one item
more, and every other stream on the connection goes on.

A message with large arrays leaves them out: its length has the bit BUFFERS set, and what follows is four bytes of the
message's length, the message, and its buffers, each at an offset that is a multiple of the codec's ALIGNMENT.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, cast

from dynamo_nb.runtime.codec import Packer, Unpacker, aligned

HELLO: Final = 0
OPEN: Final = 1
ITEM: Final = 2
END: Final = 3
ERROR: Final = 4
CANCEL: Final = 5
CREDIT: Final = 6

VERSION: Final = 2
BUFFERS: Final = 1 << 31  # in the length of a frame: arrays follow the message
MAX_FRAME: Final = 256 * 1024 * 1024  # a peer may make us hold this much for one frame
MAX_HELLO: Final = 4096  # and this much before it has said who it is
FLUSH_AT: Final = 64 * 1024  # bytes gathered within one turn that are written without waiting for its end
SMALL: Final = 4096  # bytes of a frame up to which copying is cheaper than a view
HIGH_WATER: Final = 1024 * 1024  # bytes the transport may hold before writers wait
LENT: Final = 1024 * 1024  # bytes of an array from which the transport gets the array itself, and no copy
LARGE: Final = 256 * 1024  # bytes of a frame from which the kernel writes it into its own memory: about one read
MAPPED: Final = 4 * 1024 * 1024  # bytes from which memory is mapped, since a bytearray would first be filled with zeros

WINDOW: Final = 4 * 1024 * 1024  # of credit, see above
ITEM_COST: Final = 1024  # bytes of credit that an item costs beside its own: what it may take in memory at the least
GRANT: Final = WINDOW // 2  # credit is given back in steps this large, so that it costs next to nothing

LONGEST_FAULT: Final = 200  # characters of what a peer sent that may get into a log

CLOSE_TIMEOUT: Final = 2.0  # seconds that closing waits for a peer to take what was written
KEEPALIVE: Final = 5  # seconds of silence, and between probes: a host that lost its power is noticed in about 20
PROBES: Final = 3  # that may stay unanswered

logger = logging.getLogger(__name__)


class FrameTooLarge(ValueError):
    """A frame would be over MAX_FRAME."""


class Frames(asyncio.Protocol):
    """One end of a connection: cuts the bytes into frames, gathers frames into writes, and knows when to wait.

    A subclass takes each frame in `frame`, and learns of the end in `ended`.
    """

    limit = MAX_FRAME

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed = False
        self.paused = False
        self.fault = ""
        self._transport: asyncio.Transport | None = None
        self._rest = bytearray()
        self._wanted = 4
        self._out: list[bytes | memoryview] = []
        self._gathered = 0
        self._flush_asked = False
        self._packer, self._unpacker = Packer(), Unpacker()
        self._encode, self._decode = self._packer.encode, self._unpacker.decode
        self._buffers = self._packer.buffers
        self.gone: asyncio.Future[None] = self.loop.create_future()
        self._writers: list[asyncio.Future[None]] = []

    def frame(self, message: Any, length: int) -> None:
        """Takes one decoded frame, of `length` bytes. Any exception means that it was no frame of this protocol."""
        raise NotImplementedError

    def ended(self) -> None:
        """The connection is gone; nothing follows."""

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.closed = True
        self.resume_writing()
        self._rest.clear()
        self._out.clear()
        if not self.gone.done():
            self.gone.set_result(None)
        self.ended()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self._transport is not None and not self.closed:
            self._transport.set_write_buffer_limits(high=HIGH_WATER)
        writers, self._writers = self._writers, []
        for writer in writers:
            if not writer.done():
                writer.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data = bytes(self._rest)
            self._rest.clear()
        at, size, length, with_buffers = 0, len(data), 0, False
        try:
            while size - at >= 4 and not self.closed:
                length = int.from_bytes(data[at : at + 4], "little")
                if length > self.limit:
                    length, with_buffers = self._without_flag(length), True
                end = at + 4 + length
                if end > size:
                    self._wanted = end - at
                    break
                if with_buffers:
                    self.frame(self._with_buffers(memoryview(bytearray(data[at + 4 : end]))), length)
                    with_buffers = False
                else:
                    # A slice is the quicker one for small frames; a large one is not copied.
                    content = data[at + 4 : end] if length < SMALL else memoryview(data)[at + 4 : end]
                    self.frame(self._decode(content), length)
                at = end
            else:
                self._wanted = 4
        except Exception as error:
            self._garbage(error)
            return
        if self._wanted >= LARGE and not self.closed:
            self._receive(length, with_buffers, data[at + 4 :])
        elif at < size:
            self._rest += data[at:]

    def _without_flag(self, length: int) -> int:
        """The length of a frame with buffers. Raises ValueError when the frame is too large, with or without them."""
        whole = length & ~BUFFERS
        if whole == length or whole > self.limit:
            raise ValueError(f"a frame of {whole} bytes, over the limit of {self.limit}")
        return whole

    def _with_buffers(self, content: memoryview) -> Any:
        end = 4 + int.from_bytes(content[:4], "little")
        return self._unpacker.decode_with(content[4:end], content[aligned(end) :])

    def _receive(self, length: int, with_buffers: bool, begun: bytes) -> None:
        """Has the kernel write the rest of a large frame into the memory in which it will stay."""
        assert self._transport is not None
        memory = memoryview(bytearray(length) if length < MAPPED else _map(length))
        memory[: len(begun)] = begun
        self._wanted = 4

        def received() -> None:
            self._read_with(self)
            if self.closed:
                return
            try:
                self.frame(self._with_buffers(memory) if with_buffers else self._decode(memory), length)
            except Exception as error:
                self._garbage(error)

        self._read_with(_Filling(self, memory[len(begun) :], received))

    def _read_with(self, protocol: asyncio.BaseProtocol) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()  # uvloop chooses its way of reading when reading begins
            transport.set_protocol(protocol)
            transport.resume_reading()

    def _garbage(self, error: Exception) -> None:
        peer = self._transport.get_extra_info("peername") if self._transport else None
        self.fault = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_FAULT]
        logger.warning("closing a connection (peer %s): not a frame of this protocol: %s", peer or "local", self.fault)
        self.abort()

    # --- writing

    def send(self, message: tuple[Any, ...]) -> int:
        """Writes a frame at the end of this turn of the loop, and gives its length; 0 when the connection is gone.

        Large arrays in it are read until the connection is no longer `paused`. Raises TypeError or ValueError
        (FrameTooLarge among them) when the message cannot be encoded; then nothing of it is written.
        """
        if self.closed:
            return 0
        try:
            data = self._encode(message)
        except BaseException:
            self._buffers.clear()
            raise
        length = len(data)
        if length > LENT or self._buffers:
            return self._send_large(data)
        self._out.append(length.to_bytes(4, "little") + data)
        self._gathered += length
        if self._gathered > FLUSH_AT:
            self.flush()
        elif not self._flush_asked:
            self._flush_asked = True
            self.loop.call_soon(self._flush_at_end)
        return length

    def _send_large(self, data: bytes) -> int:
        parts: list[bytes | memoryview] = [data]
        length, head = len(data), len(data).to_bytes(4, "little")
        if self._buffers:
            length += 4
            for buffer in self._buffers:
                parts += bytes(aligned(length) - length), buffer
                length = aligned(length) + buffer.nbytes
            self._buffers.clear()
            head = (length | BUFFERS).to_bytes(4, "little") + head
        if length > MAX_FRAME:
            raise FrameTooLarge(f"{length:,} bytes, where at most {MAX_FRAME:,} fit in one message")
        self._out.append(head)
        self._write(parts)
        return length

    def _write(self, parts: Iterable[bytes | memoryview]) -> None:
        """Writes what was gathered and these parts. Parts of LENT bytes or more are not copied, which pauses us."""
        for part in parts:
            if len(part) < LENT:
                self._out.append(part)
                continue
            self.flush()
            if self._transport is not None:
                self._transport.set_write_buffer_limits(high=0)  # resumes when the last byte is taken, not before
                self._transport.write(part)
        self.flush()
        if self._transport is not None and not self.paused:
            self._transport.set_write_buffer_limits(high=HIGH_WATER)

    def _flush_at_end(self) -> None:
        self._flush_asked = False
        self.flush()

    def flush(self) -> None:
        out = self._out
        if out and self._transport is not None and not self.closed:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()
        self._gathered = 0

    async def writable(self) -> None:
        """Waits while the peer reads more slowly than we write."""
        while self.paused and not self.closed:
            writer = self.loop.create_future()
            self._writers.append(writer)
            await writer

    def close(self) -> None:
        """Writes what is left, then closes."""
        self.flush()
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()


class _Filling(asyncio.BufferedProtocol):
    """Stands in for a connection's protocol until the rest of one frame has been read."""

    def __init__(self, frames: Frames, memory: memoryview, received: Callable[[], None]) -> None:
        self._memory, self._received = memory, received
        self.connection_lost = frames.connection_lost  # type: ignore[method-assign]
        self.pause_writing = frames.pause_writing  # type: ignore[method-assign]
        self.resume_writing = frames.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._memory

    def buffer_updated(self, nbytes: int) -> None:
        self._memory = self._memory[nbytes:]
        if not self._memory:
            self._received()


def _map(size: int) -> mmap.mmap:
    """Memory that costs nothing until it is written."""
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


async def wait_closed(connections: Iterable[Frames]) -> None:
    """Waits until connections that were closed are gone; those whose peer takes nothing are cut off."""
    connections = list(connections)
    if connections:
        await asyncio.wait([connection.gone for connection in connections], timeout=CLOSE_TIMEOUT)
    for connection in connections:
        if not connection.gone.done():
            connection.abort()


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Makes the kernel end the connection when a TCP peer's host has vanished.

    Probes tell while nothing is being sent. With data on its way the kernel probes nothing, and sends it again for some
    15 minutes, unless that has a bound of its own.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": KEEPALIVE,
        "TCP_KEEPINTVL": KEEPALIVE,
        "TCP_KEEPCNT": PROBES,
        "TCP_USER_TIMEOUT": 1000 * KEEPALIVE * (1 + PROBES),  # milliseconds
    }
    for name, value in options.items():
        if option := getattr(socket, name, None):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
