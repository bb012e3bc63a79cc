"""Logs of changes, for any number of followers: one worker's KV cache, and one router's open placements."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Final, Generic, TypeVar

from msgspec.structs import replace

from dynamo_nb.llm.messages import Load, OpenPlacement, PlacementEvent, WorkerEvent

CHUNK: Final = 4096  # blocks in one event: about 36 kB on the wire
BACKLOG: Final = 1024  # events that a follower may be behind; then it receives the whole content again

Event = TypeVar("Event", WorkerEvent, PlacementEvent)


class _Follower(Generic[Event]):
    """The events that one follower has not received yet."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self.needs_content = True
        self.changed = asyncio.Event()


class ChangeLog(ABC, Generic[Event]):
    """Each follower receives the whole content and then every change, in order.

    A follower that reads too slowly receives the whole content again.
    """

    def __init__(self) -> None:
        self._followers: dict[_Follower[Event], None] = {}  # in the order of their arrival

    @abstractmethod
    def _content(self) -> Iterable[Event]:
        """The events that lead to the content from any state."""

    def _publish(self, event: Event) -> None:
        for follower in self._followers:
            if follower.needs_content:
                continue
            if len(follower.events) >= BACKLOG:
                follower.events.clear()
                follower.needs_content = True
            else:
                follower.events.append(event)
            follower.changed.set()

    async def follow(self) -> AsyncIterator[Event]:
        """Yields the whole content, beginning with a `cleared` event, and then every change, without an end.

        Events are numbered from 0.
        """
        follower = _Follower[Event]()
        follower.changed.set()
        self._followers[follower] = None
        number = 0
        try:
            while True:
                await follower.changed.wait()
                follower.changed.clear()
                if follower.needs_content:
                    follower.needs_content = False
                    follower.events.extend(self._content())
                while follower.events:
                    yield replace(follower.events.popleft(), number=number)
                    number += 1
        finally:
            del self._followers[follower]


class CacheLog(ChangeLog[WorkerEvent]):
    """The blocks in a cache, named by `block_hashes`, and the engine's last Load.

    An engine writes to it on its event loop (`stored`, `removed`, `cleared`, `loaded`).

    Attributes:
        blocks: The blocks in the cache, as the keys of a dict.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks: dict[int, None] = {}
        self._load: Load | None = None

    def stored(self, blocks: Iterable[int]) -> None:
        """Adds blocks; those that are present already change nothing."""
        new = [block for block in blocks if block not in self.blocks]
        if new:
            self.blocks.update(dict.fromkeys(new))
            self._publish(WorkerEvent(0, stored=new))

    def removed(self, blocks: Iterable[int]) -> None:
        """Removes blocks; those that are absent change nothing."""
        present = [block for block in blocks if block in self.blocks]
        if present:
            for block in present:
                del self.blocks[block]
            self._publish(WorkerEvent(0, removed=present))

    def cleared(self) -> None:
        """Removes all blocks."""
        self.blocks.clear()
        self._publish(WorkerEvent(0, cleared=True))

    def loaded(self, load: Load) -> None:
        """Sets the engine's load; published if it differs from the last one."""
        if load != self._load:
            self._load = load
            self._publish(WorkerEvent(0, load=load))

    def leading(self, blocks: Iterable[int]) -> int:
        """Returns how many of these blocks, from the first one on, are in the cache."""
        count = 0
        for block in blocks:
            if block not in self.blocks:
                break
            count += 1
        return count

    def _content(self) -> Iterable[WorkerEvent]:
        blocks = list(self.blocks)
        yield WorkerEvent(0, cleared=True, load=self._load)
        for start in range(0, len(blocks), CHUNK):
            yield WorkerEvent(0, stored=blocks[start : start + CHUNK])


class PlacementLog(ChangeLog[PlacementEvent]):
    """The placements of a router that have not ended."""

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[int, OpenPlacement] = {}

    def begun(self, placement: OpenPlacement) -> None:
        """Adds a placement."""
        self._open[placement.number] = placement
        self._publish(PlacementEvent(0, begun=[placement]))

    def ended(self, number: int) -> None:
        """Removes a placement."""
        del self._open[number]
        self._publish(PlacementEvent(0, ended=[number]))

    def _content(self) -> Iterable[PlacementEvent]:
        yield PlacementEvent(0, cleared=True)
        for placement in self._open.values():
            yield PlacementEvent(0, begun=[placement])
