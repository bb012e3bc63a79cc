"""Reads the cache events that vLLM publishes, and writes them to a CacheLog with our names of blocks."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dynamo_nb.llm.cache.blocks import chained, root
from dynamo_nb.llm.cache.log import CacheLog

if TYPE_CHECKING:
    from vllm.config import KVEventsConfig

DEVICE: Final = "GPU"  # the medium of blocks that attention reads; vLLM uses this name on a CPU as well
BUFFERED_BATCHES: Final = 10_000  # batches that the engine keeps for a reader that has missed some
REPLAY_TIMEOUT: Final = 5.0  # seconds of a replay; the engine looks for such requests every 100 ms
RECONNECT_INTERVAL: Final = 10  # milliseconds; in ZeroMQ's default, 100, an engine could store its first block
NUMBER_SIZE: Final = 8  # bytes of a batch's number, big-endian


class BlockNames:
    """Translates vLLM's events, batch by batch, into changes of a CacheLog.

    vLLM names a block by its own hash. Our name follows from the name of the block before it and from the tokens,
    adapter and salt in the event. Events do not contain images and embeddings of a prompt: blocks of such prompts, and
    all blocks after them, get no name, so that they are not confused with blocks of other prompts.
    """

    def __init__(self, cache: CacheLog, block_size: int) -> None:
        self._cache, self._block_size = cache, block_size
        self._names: dict[Any, int] = {}  # vLLM's name -> ours
        self._copies: Counter[Any] = Counter()  # equal prompts at the same time are stored more than once

    def apply(self, events: Sequence[Any]) -> None:
        """Applies the events of one KVEventBatch."""
        for event in events:
            kind = type(event).__name__
            if kind == "AllBlocksCleared":
                self.clear()
            elif event.medium not in {None, DEVICE} or event.group_idx not in {None, 0}:
                continue  # other tiers of memory, and other kinds of attention, which store the same blocks
            elif kind == "BlockStored":
                self._stored(event)
            elif kind == "BlockRemoved":
                self._removed(event.block_hashes)

    def clear(self) -> None:
        """Removes all blocks: the cache is empty, or its content is unknown."""
        self._names.clear()
        self._copies.clear()
        self._cache.cleared()

    def _stored(self, event: Any) -> None:
        if event.block_size != self._block_size:
            return  # part of a block
        keys = event.extra_keys or [None] * len(event.block_hashes)
        if event.parent_block_hash is None:
            texts = [key for key in keys[0] or () if isinstance(key, str)]
            adapter = event.lora_name or ""
            salt = next((text for text in texts[1 if adapter else 0 :]), "")
            parent = root(adapter, salt)
        elif event.parent_block_hash in self._names:
            parent = self._names[event.parent_block_hash]
        else:
            return
        is_text = [all(isinstance(part, str) for part in key or ()) for key in keys]
        count = is_text.index(False) if False in is_text else len(is_text)
        names = chained(parent, event.token_ids[: count * self._block_size], self._block_size)
        for theirs, name in zip(event.block_hashes, names, strict=False):
            self._names[theirs] = name
            self._copies[theirs] += 1
        self._cache.stored(names)

    def _removed(self, hashes: Sequence[Any]) -> None:
        removed = []
        for theirs in hashes:
            if theirs not in self._names:
                continue
            self._copies[theirs] -= 1
            if not self._copies[theirs]:
                del self._copies[theirs]
                removed.append(self._names.pop(theirs))
        self._cache.removed(removed)


class EventReader:
    """Reads an engine's publisher as long as the engine runs.

    Batches are numbered. Missing ones are requested again; if the engine does not have them any more, the log is
    cleared. A router that knows too few blocks costs time, one that believes in blocks that are gone costs more.

    Args:
        folder: The folder for the sockets' own folder; a temporary one if None.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = tempfile.mkdtemp(prefix="kv-events-", dir=folder)
        self._live, self._replay = f"ipc://{self._folder}/live", f"ipc://{self._folder}/replay"
        self._next = 0
        self._task: asyncio.Task[None] | None = None

    def config(self) -> KVEventsConfig:
        """Returns the engine configuration that publishes to this reader."""
        from vllm.config import KVEventsConfig

        return KVEventsConfig(
            enable_kv_cache_events=True,
            publisher="zmq",
            endpoint=self._live,
            replay_endpoint=self._replay,
            buffer_steps=BUFFERED_BATCHES,
        )

    def open(self) -> None:
        """Connects. Call this before the engine starts, so that no event is missed."""
        import zmq.asyncio

        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_INTERVAL)
        self._socket.setsockopt(zmq.RCVHWM, 0)  # the engine's own limit is enough
        self._socket.subscribe(b"")
        self._socket.connect(self._live)

    def follow(self, cache: CacheLog, block_size: int) -> None:
        """Starts writing to the log, in a task on the running loop."""
        from msgspec.msgpack import Decoder
        from vllm.distributed.kv_events import KVEventBatch

        self._decode = Decoder(KVEventBatch).decode
        self._names = BlockNames(cache, block_size)
        self._task = asyncio.create_task(self._read(), name="vllm-events")

    async def close(self) -> None:
        """Ends the task and removes the sockets. Also for a reader that is not open."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if hasattr(self, "_context"):
            self._context.destroy(linger=0)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _read(self) -> None:
        while True:
            _, number, batch = await self._socket.recv_multipart()
            position = int.from_bytes(number, "big")
            if position > self._next:
                await self._request_missing()
            if position >= self._next:
                self._apply(position, batch)

    def _apply(self, position: int, batch: bytes) -> None:
        if position > self._next:
            self._names.clear()
        self._names.apply(self._decode(batch).events)
        self._next = position + 1

    async def _request_missing(self) -> None:
        """Applies the batches that the engine still has, from the first missing one on."""
        import zmq

        socket = self._context.socket(zmq.DEALER)
        try:
            socket.connect(self._replay)
            await socket.send_multipart([b"", self._next.to_bytes(NUMBER_SIZE, "big")])
            async with asyncio.timeout(REPLAY_TIMEOUT):
                while True:
                    *_, number, batch = await socket.recv_multipart()
                    if not batch:
                        return
                    position = int.from_bytes(number, "big")
                    if position >= self._next:
                        self._apply(position, batch)
        except TimeoutError:
            return  # the next batch leaves a gap, and clears the log
        finally:
            socket.close(linger=0)
