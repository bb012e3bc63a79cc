"""Frames on a connection: bytes are cut into messages, and messages are gathered into writes. See `wire`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final, cast

from dynamo_nb.runtime.codec import Packer, Unpacker, aligned
from dynamo_nb.runtime.large_frame import LargeFrame, allocate
from dynamo_nb.runtime.wire import BUFFERS, MAX_FRAME

FLUSH_AT: Final = 64 * 1024  # bytes gathered within one turn that are written without waiting for its end
SMALL: Final = 4096  # bytes of a frame up to which a copy is cheaper than a view
HIGH_WATER: Final = 1024 * 1024  # bytes the transport may hold before writers wait
UNCOPIED: Final = 1024 * 1024  # bytes from which the transport gets an array itself instead of a copy
LARGE: Final = 256 * 1024  # bytes from which the kernel writes a frame into its own memory: about one read
LONGEST_FAULT: Final = 200  # characters of a peer's bytes that may appear in a log
CLOSE_TIMEOUT: Final = 2.0  # seconds that closing waits for a peer to accept what was written

logger = logging.getLogger(__name__)


class FrameTooLarge(ValueError):
    """A frame would be larger than MAX_FRAME."""


class Frames(asyncio.Protocol):
    """One end of a connection: cuts bytes into frames, gathers frames into writes, and pauses writers.

    A subclass processes each frame in `on_frame`, and the end of the connection in `on_disconnect`.

    Attributes:
        limit: Largest frame that the peer may send, in bytes.
        loop: The event loop of the connection.
        closed: True after the connection was closed or lost.
        paused: True while the peer reads more slowly than this end writes.
        fault: Reason why the peer's bytes were not frames of this protocol; empty if they were.
        disconnected: Done when the connection has ended.
    """

    limit = MAX_FRAME

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed = False
        self.paused = False
        self.fault = ""
        self.disconnected: asyncio.Future[None] = self.loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._rest = bytearray()
        self._needed = 4
        self._out: list[bytes | memoryview] = []
        self._gathered = 0
        self._flush_scheduled = False
        self._packer, self._unpacker = Packer(), Unpacker()
        self._encode, self._decode = self._packer.encode, self._unpacker.decode
        self._buffers = self._packer.buffers
        self._writers: list[asyncio.Future[None]] = []

    def on_frame(self, message: Any, length: int) -> None:
        """Processes one decoded frame of `length` bytes. Any exception means that the peer broke the protocol."""
        raise NotImplementedError

    def on_disconnect(self) -> None:
        """Called once when the connection has ended."""

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.closed = True
        self.resume_writing()
        self._rest.clear()
        self._out.clear()
        if not self.disconnected.done():
            self.disconnected.set_result(None)
        self.on_disconnect()

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

    # --- reading

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
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
                    self._needed = end - at
                    break
                if with_buffers:
                    self.on_frame(self._decode_with_buffers(memoryview(bytearray(data[at + 4 : end]))), length)
                    with_buffers = False
                else:
                    # A slice is faster for small frames; a large frame is not copied.
                    content = data[at + 4 : end] if length < SMALL else memoryview(data)[at + 4 : end]
                    self.on_frame(self._decode(content), length)
                at = end
            else:
                self._needed = 4
        except Exception as error:
            self._protocol_error(error)
            return
        if self._needed >= LARGE and not self.closed:
            self._receive_large(length, with_buffers, data[at + 4 :])
        elif at < size:
            self._rest += data[at:]

    def _without_flag(self, length: int) -> int:
        """The length of a frame with buffers. Raises ValueError if the frame is too large, with or without them."""
        size = length & ~BUFFERS
        if size == length or size > self.limit:
            raise ValueError(f"a frame of {size} bytes, over the limit of {self.limit}")
        return size

    def _decode_with_buffers(self, content: memoryview) -> Any:
        end = 4 + int.from_bytes(content[:4], "little")
        return self._unpacker.decode_with(content[4:end], content[aligned(end) :])

    def _receive_large(self, length: int, with_buffers: bool, start: bytes) -> None:
        """Receives the rest of a large frame directly into its own memory."""
        assert self._transport is not None
        memory = allocate(length)
        memory[: len(start)] = start
        self._needed = 4

        def complete() -> None:
            self._read_with(self)
            if self.closed:
                return
            try:
                self.on_frame(self._decode_with_buffers(memory) if with_buffers else self._decode(memory), length)
            except Exception as error:
                self._protocol_error(error)

        self._read_with(LargeFrame(self, memory[len(start) :], complete))

    def _read_with(self, protocol: asyncio.BaseProtocol) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()  # uvloop chooses its way of reading when reading starts
            transport.set_protocol(protocol)
            transport.resume_reading()

    def _protocol_error(self, error: Exception) -> None:
        peer = self._transport.get_extra_info("peername") if self._transport else None
        self.fault = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_FAULT]
        logger.warning("closing a connection (peer %s): not a frame of this protocol: %s", peer or "local", self.fault)
        self.abort()

    # --- writing

    def send(self, message: tuple[Any, ...]) -> int:
        """Writes a frame at the end of this turn of the loop.

        Large arrays in the message are read until the connection is no longer `paused`.

        Returns:
            The length of the frame in bytes; 0 if the connection has ended.

        Raises:
            TypeError: The message cannot be encoded. Nothing of it is written.
            ValueError: The same; FrameTooLarge if it is too large.
        """
        if self.closed:
            return 0
        try:
            data = self._encode(message)
        except BaseException:
            self._buffers.clear()
            raise
        length = len(data)
        if length > UNCOPIED or self._buffers:
            return self._send_large(data)
        self._out.append(length.to_bytes(4, "little") + data)
        self._gathered += length
        if self._gathered > FLUSH_AT:
            self.flush()
        elif not self._flush_scheduled:
            self._flush_scheduled = True
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
            raise FrameTooLarge(f"{length:,} bytes, and one message may have at most {MAX_FRAME:,} bytes")
        self._out.append(head)
        self._write(parts)
        return length

    def _write(self, parts: Iterable[bytes | memoryview]) -> None:
        """Writes what was gathered, and these parts. Parts of UNCOPIED bytes or more pause this end."""
        for part in parts:
            if len(part) < UNCOPIED:
                self._out.append(part)
                continue
            self.flush()
            if self._transport is not None:
                self._transport.set_write_buffer_limits(high=0)  # resumes when the last byte is written, not before
                self._transport.write(part)
        self.flush()
        if self._transport is not None and not self.paused:
            self._transport.set_write_buffer_limits(high=HIGH_WATER)

    def _flush_at_end(self) -> None:
        self._flush_scheduled = False
        self.flush()

    def flush(self) -> None:
        """Writes what was gathered now."""
        out = self._out
        if out and self._transport is not None and not self.closed:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()
        self._gathered = 0

    async def writable(self) -> None:
        """Waits while the peer reads more slowly than this end writes."""
        while self.paused and not self.closed:
            writer = self.loop.create_future()
            self._writers.append(writer)
            await writer

    def close(self) -> None:
        """Writes what was gathered, then closes."""
        self.flush()
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes at once."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()


async def wait_closed(connections: Iterable[Frames]) -> None:
    """Waits until closed connections have ended; aborts those whose peer does not read."""
    connections = list(connections)
    if connections:
        await asyncio.wait([connection.disconnected for connection in connections], timeout=CLOSE_TIMEOUT)
    for connection in connections:
        if not connection.disconnected.done():
            connection.abort()
