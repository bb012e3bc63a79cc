"""What one worker's KV cache holds, and what has changed, for any number of routers to follow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Final

from dynamo_nb.llm.messages import Load, WorkerEvent

CHUNK: Final = 4096  # blocks in one event: some 36 kB on the wire
BACKLOG: Final = 1024  # events a follower may be behind before it is given the whole once more


class _Follower:
    """Where one follower stands."""

    def __init__(self) -> None:
        self.events: deque[WorkerEvent] = deque()
        self.behind = True  # until it has been given the whole
        self.news = asyncio.Event()


class CacheLog:
    """The blocks that a cache holds, in the names of `block_hashes`, and the engine's last Load.

    An engine writes to it on its event loop (`stored`, `removed`, `cleared`, `loaded`); each follower gets all that is
    held and then every change, in order. One who reads too slowly is given the whole anew.
    """

    def __init__(self) -> None:
        self.blocks: dict[int, None] = {}
        self._load: Load | None = None
        self._followers: set[_Follower] = set()

    def stored(self, blocks: Iterable[int]) -> None:
        """These are held from now on. Those that were held already change nothing."""
        new = [block for block in blocks if block not in self.blocks]
        if new:
            self.blocks.update(dict.fromkeys(new))
            self._tell(stored=new)

    def removed(self, blocks: Iterable[int]) -> None:
        """These are held no longer. Those that were not held change nothing."""
        gone = [block for block in blocks if block in self.blocks]
        if gone:
            for block in gone:
                del self.blocks[block]
            self._tell(removed=gone)

    def cleared(self) -> None:
        """Nothing is held any more."""
        self.blocks.clear()
        self._tell(cleared=True)

    def loaded(self, load: Load) -> None:
        """What the engine is busy with; told when it differs from the last."""
        if load != self._load:
            self._load = load
            self._tell(load=load)

    def leading(self, blocks: Iterable[int]) -> int:
        """How many of these, from the first on, are held."""
        count = 0
        for block in blocks:
            if block not in self.blocks:
                break
            count += 1
        return count

    def _tell(self, **change: object) -> None:
        for follower in self._followers:
            if follower.behind:
                continue
            if len(follower.events) >= BACKLOG:
                follower.events.clear()
                follower.behind = True
            else:
                follower.events.append(WorkerEvent(0, **change))  # type: ignore[arg-type]
            follower.news.set()

    async def follow(self) -> AsyncIterator[WorkerEvent]:
        """All that is held, beginning with `cleared`, and then every change; for ever. Numbered from 0."""
        follower = _Follower()
        follower.news.set()
        self._followers.add(follower)
        number = 0
        try:
            while True:
                await follower.news.wait()
                follower.news.clear()
                if follower.behind:
                    follower.behind = False
                    follower.events.extend(self._whole())
                while follower.events:
                    event = follower.events.popleft()
                    yield WorkerEvent(number, event.stored, event.removed, event.cleared, event.load)
                    number += 1
        finally:
            self._followers.discard(follower)

    def _whole(self) -> Iterable[WorkerEvent]:
        blocks = list(self.blocks)
        yield WorkerEvent(0, cleared=True, load=self._load)
        for start in range(0, len(blocks), CHUNK):
            yield WorkerEvent(0, stored=blocks[start : start + CHUNK])
