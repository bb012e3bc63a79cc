"""Reception of a large frame: the kernel writes its bytes directly into the memory in which they stay."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Callable
from contextlib import suppress
from typing import Final

MAPPED: Final = 4 * 1024 * 1024  # bytes from which memory is mapped: a bytearray would first be filled with zeros


class LargeFrame(asyncio.BufferedProtocol):
    """Replaces a connection's protocol until the rest of one frame has arrived.

    Args:
        protocol: The connection's protocol, which gets all other events.
        memory: Buffer for the missing bytes.
        complete: Called when the last of them has arrived.
    """

    def __init__(self, protocol: asyncio.Protocol, memory: memoryview, complete: Callable[[], None]) -> None:
        self._memory, self._complete = memory, complete
        self.connection_lost = protocol.connection_lost  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._memory

    def buffer_updated(self, nbytes: int) -> None:
        self._memory = self._memory[nbytes:]
        if not self._memory:
            self._complete()


def allocate(size: int) -> memoryview:
    """Returns memory for a frame of `size` bytes."""
    return memoryview(bytearray(size) if size < MAPPED else _map(size))


def _map(size: int) -> mmap.mmap:
    """Memory that costs nothing until it is written."""
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
