"""What vLLM tells of its KV cache, read off its publisher and written to a CacheLog in our names."""

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

DEVICE: Final = "GPU"  # the medium of blocks that attention reads; vLLM says so on a CPU as well
REPLAYED: Final = 10_000  # batches that the engine keeps, for a reader who has missed some
REPLAY_TIME: Final = 5.0  # seconds that a replay may take; the engine looks for such requests every 100 ms
RECONNECT: Final = (
    10  # milliseconds; ZeroMQ's 100 could be longer than an engine takes from its socket to its first block
)
NUMBER: Final = 8  # bytes of a batch's number, big-endian


class BlockNames:
    """Translates vLLM's events, batch by batch, into the changes of a CacheLog.

    vLLM names a block by a hash of its own; ours follows from the name of the block before it and the tokens, adapter
    and salt that the event tells. Images and embeddings in a prompt are not told: blocks of such prompts, and all that
    follow them, get no name, so that nobody takes them for another's.
    """

    def __init__(self, cache: CacheLog, block_size: int) -> None:
        self._cache, self._block_size = cache, block_size
        self._names: dict[Any, int] = {}  # vLLM's -> ours
        self._copies: Counter[Any] = Counter()  # equal prompts at the same time are held more than once

    def apply(self, events: Sequence[Any]) -> None:
        """events: those of one KVEventBatch."""
        for event in events:
            kind = type(event).__name__
            if kind == "AllBlocksCleared":
                self.clear()
            elif event.medium not in {None, DEVICE} or event.group_idx not in {None, 0}:
                continue  # other tiers, and other kinds of attention, which hold the same blocks
            elif kind == "BlockStored":
                self._stored(event)
            elif kind == "BlockRemoved":
                self._removed(event.block_hashes)

    def clear(self) -> None:
        """Nothing is held any more, or nothing is known of it."""
        self._names.clear()
        self._copies.clear()
        self._cache.cleared()

    def _stored(self, event: Any) -> None:
        if event.block_size != self._block_size:
            return  # a part of a block
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
        told = [all(isinstance(part, str) for part in key or ()) for key in keys]
        plain = told.index(False) if False in told else len(told)
        names = chained(parent, event.token_ids[: plain * self._block_size], self._block_size)
        for theirs, name in zip(event.block_hashes, names, strict=False):
            self._names[theirs] = name
            self._copies[theirs] += 1
        self._cache.stored(names)

    def _removed(self, hashes: Sequence[Any]) -> None:
        gone = []
        for theirs in hashes:
            if theirs not in self._names:
                continue
            self._copies[theirs] -= 1
            if not self._copies[theirs]:
                del self._copies[theirs]
                gone.append(self._names.pop(theirs))
        self._cache.removed(gone)


class EventReader:
    """Reads an engine's publisher for as long as the engine runs.

    Batches are numbered; those that are missing are asked for once more, and where the engine has them no longer all
    that was known is forgotten: a router that knows too little costs time, one that knows too much as well, for longer.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """folder: where the sockets' own folder is made; a temporary place if None."""
        self._folder = tempfile.mkdtemp(prefix="kv-events-", dir=folder)
        self._live, self._replay = f"ipc://{self._folder}/live", f"ipc://{self._folder}/replay"
        self._next = 0
        self._task: asyncio.Task[None] | None = None

    def config(self) -> KVEventsConfig:
        """What tells an engine to publish for this reader."""
        from vllm.config import KVEventsConfig

        return KVEventsConfig(
            enable_kv_cache_events=True,
            publisher="zmq",
            endpoint=self._live,
            replay_endpoint=self._replay,
            buffer_steps=REPLAYED,
        )

    def open(self) -> None:
        """Connects; before the engine starts, so that it misses nothing."""
        import zmq.asyncio

        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT)
        self._socket.setsockopt(zmq.RCVHWM, 0)  # the engine's own bound is enough
        self._socket.subscribe(b"")
        self._socket.connect(self._live)

    def follow(self, cache: CacheLog, block_size: int) -> None:
        """Writes to the log from now on, in a task on the running loop."""
        from msgspec.msgpack import Decoder
        from vllm.distributed.kv_events import KVEventBatch

        self._decode = Decoder(KVEventBatch).decode
        self._names = BlockNames(cache, block_size)
        self._task = asyncio.create_task(self._read(), name="vllm-events")

    async def close(self) -> None:
        """Ends the task and removes the sockets. Whether open or not."""
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
                await self._heal()
            if position >= self._next:
                self._take(position, batch)

    def _take(self, position: int, batch: bytes) -> None:
        if position > self._next:
            self._names.clear()
        self._names.apply(self._decode(batch).events)
        self._next = position + 1

    async def _heal(self) -> None:
        """Takes what the engine has since the first batch that is missing."""
        import zmq

        socket = self._context.socket(zmq.DEALER)
        try:
            socket.connect(self._replay)
            await socket.send_multipart([b"", self._next.to_bytes(NUMBER, "big")])
            async with asyncio.timeout(REPLAY_TIME):
                while True:
                    *_, number, batch = await socket.recv_multipart()
                    if not batch:
                        return
                    position = int.from_bytes(number, "big")
                    if position >= self._next:
                        self._take(position, batch)
        except TimeoutError:
            return  # the next batch does not follow the last: all is forgotten
        finally:
            socket.close(linger=0)
