"""Frames: what is said on a connection between a client and a worker.

A frame is four bytes of length (little endian) and a msgpack array `[kind, stream, ...]`:

    HELLO   0, version, authentication      the client's first frame; authentication is nil for now
    OPEN    stream, path, args, kwargs, headers
    ITEM    stream, value
    END     stream [, value]                a single answer is one END with its value; a stream ends without one
    ERROR   stream, error, retry            error as `errors.to_wire` gives it; retry: nothing was done, ask another
    CANCEL  stream
    CREDIT  stream, count                   reserved for flow control of each stream

Streams are numbered by the client. Frames written in one turn of the event loop leave in one write.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable
from typing import Any, Final, cast

from dynamo_nb.runtime.codec import decode, encode

HELLO: Final = 0
OPEN: Final = 1
ITEM: Final = 2
END: Final = 3
ERROR: Final = 4
CANCEL: Final = 5
CREDIT: Final = 6

VERSION: Final = 1
MAX_FRAME: Final = 64 * 1024 * 1024  # a peer may make us hold this much for one frame
MAX_HELLO: Final = 4096  # and this much before it has said who it is
FLUSH_AT: Final = 64 * 1024  # bytes gathered within one turn that are written without waiting for its end
SMALL: Final = 4096  # bytes of a frame up to which copying is cheaper than a view
HIGH_WATER: Final = 1024 * 1024  # bytes the transport may hold before writers wait

CLOSE_TIMEOUT: Final = 2.0  # seconds that closing waits for a peer to take what was written
KEEPALIVE: Final = 5  # seconds of silence, and between probes: a host that lost its power is noticed in about 20

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
        self._out: list[bytes] = []
        self._gathered = 0
        self._flush_asked = False
        self.gone: asyncio.Future[None] = self.loop.create_future()
        self._writers: list[asyncio.Future[None]] = []

    def frame(self, message: Any) -> None:
        """Takes one decoded frame. Any exception means that it was no frame of this protocol."""
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
        at, size = 0, len(data)
        try:
            while size - at >= 4 and not self.closed:
                length = int.from_bytes(data[at : at + 4], "little")
                if length > self.limit:
                    raise ValueError(f"a frame of {length} bytes, over the limit of {self.limit}")
                end = at + 4 + length
                if end > size:
                    self._wanted = end - at
                    break
                # A slice is the quicker one for small frames; a large one is not copied.
                self.frame(decode(data[at + 4 : end] if length < SMALL else memoryview(data)[at + 4 : end]))
                at = end
            else:
                self._wanted = 4
        except Exception as error:
            self._garbage(error)
            return
        if at < size:
            self._rest += data[at:]

    def _garbage(self, error: Exception) -> None:
        peer = self._transport.get_extra_info("peername") if self._transport else None
        self.fault = f"{type(error).__name__}: {error}"
        logger.warning("closing a connection (peer %s): not a frame of this protocol: %s", peer or "local", self.fault)
        self.abort()

    # --- writing

    def send(self, message: tuple[Any, ...]) -> None:
        """Writes a frame at the end of this turn of the loop; does nothing when the connection is gone.

        Raises TypeError or ValueError (FrameTooLarge among them) when the message cannot be encoded; then nothing of
        it is written.
        """
        if self.closed:
            return
        data = encode(message)
        length = len(data)
        if length > MAX_FRAME:
            raise FrameTooLarge(f"{length:,} bytes, where at most {MAX_FRAME:,} fit in one message")
        self._out.append(length.to_bytes(4, "little") + data)
        self._gathered += length
        if self._gathered > FLUSH_AT:
            self.flush()
        elif not self._flush_asked:
            self._flush_asked = True
            self.loop.call_soon(self._flush_at_end)

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


async def wait_closed(connections: Iterable[Frames]) -> None:
    """Waits until connections that were closed are gone; those whose peer takes nothing are cut off."""
    connections = list(connections)
    if connections:
        await asyncio.wait([connection.gone for connection in connections], timeout=CLOSE_TIMEOUT)
    for connection in connections:
        if not connection.gone.done():
            connection.abort()


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Makes the kernel probe a silent TCP peer, so that a host that vanished ends its connections."""
    sock = transport.get_extra_info("socket")
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", KEEPALIVE), ("TCP_KEEPINTVL", KEEPALIVE), ("TCP_KEEPCNT", 3)):
        if option := getattr(socket, name, None):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
