"""The content and the changes of one worker's KV cache, for any number of routers to follow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Final

from dynamo_nb.llm.messages import Load, WorkerEvent

CHUNK: Final = 4096  # blocks in one event: about 36 kB on the wire
BACKLOG: Final = 1024  # events that a follower may be behind; then it receives the whole content again


class _Follower:
    """The events that one follower has not received yet."""

    def __init__(self) -> None:
        self.events: deque[WorkerEvent] = deque()
        self.needs_content = True
        self.changed = asyncio.Event()


class CacheLog:
    """The blocks in a cache, named by `block_hashes`, and the engine's last Load.

    An engine writes to it on its event loop (`stored`, `removed`, `cleared`, `loaded`). Each follower receives the
    whole content and then every change, in order. A follower that reads too slowly receives the whole content again.

    Attributes:
        blocks: The blocks in the cache, as the keys of a dict.
    """

    def __init__(self) -> None:
        self.blocks: dict[int, None] = {}
        self._load: Load | None = None
        self._followers: set[_Follower] = set()

    def stored(self, blocks: Iterable[int]) -> None:
        """Adds blocks; those that are present already change nothing."""
        new = [block for block in blocks if block not in self.blocks]
        if new:
            self.blocks.update(dict.fromkeys(new))
            self._publish(stored=new)

    def removed(self, blocks: Iterable[int]) -> None:
        """Removes blocks; those that are absent change nothing."""
        present = [block for block in blocks if block in self.blocks]
        if present:
            for block in present:
                del self.blocks[block]
            self._publish(removed=present)

    def cleared(self) -> None:
        """Removes all blocks."""
        self.blocks.clear()
        self._publish(cleared=True)

    def loaded(self, load: Load) -> None:
        """Sets the engine's load; published if it differs from the last one."""
        if load != self._load:
            self._load = load
            self._publish(load=load)

    def leading(self, blocks: Iterable[int]) -> int:
        """Returns how many of these blocks, from the first one on, are in the cache."""
        count = 0
        for block in blocks:
            if block not in self.blocks:
                break
            count += 1
        return count

    def _publish(self, **change: object) -> None:
        for follower in self._followers:
            if follower.needs_content:
                continue
            if len(follower.events) >= BACKLOG:
                follower.events.clear()
                follower.needs_content = True
            else:
                follower.events.append(WorkerEvent(0, **change))  # type: ignore[arg-type]
            follower.changed.set()

    async def follow(self) -> AsyncIterator[WorkerEvent]:
        """Yields the whole content, beginning with a `cleared` event, and then every change, without an end.

        Events are numbered from 0.
        """
        follower = _Follower()
        follower.changed.set()
        self._followers.add(follower)
        number = 0
        try:
            while True:
                await follower.changed.wait()
                follower.changed.clear()
                if follower.needs_content:
                    follower.needs_content = False
                    follower.events.extend(self._content())
                while follower.events:
                    event = follower.events.popleft()
                    yield WorkerEvent(number, event.stored, event.removed, event.cleared, event.load)
                    number += 1
        finally:
            self._followers.discard(follower)

    def _content(self) -> Iterable[WorkerEvent]:
        blocks = list(self.blocks)
        yield WorkerEvent(0, cleared=True, load=self._load)
        for start in range(0, len(blocks), CHUNK):
            yield WorkerEvent(0, stored=blocks[start : start + CHUNK])
