"""The bookkeeping of a paged prefix cache: which blocks there are, who uses them, and which go first."""

from __future__ import annotations

from collections.abc import Sequence

from dynamo_nb.llm.cache.log import CacheLog


class PagedCache:
    """A fixed number of blocks, each in one of four states.

    Free; *taken*: of a running sequence, not full yet and so without a name; *pinned*: full, named, and part of at
    least one running sequence; *idle*: full, named, and kept until its room is needed, the longest unused first. Of one
    sequence the tail goes before the head, so that what is held of any sequence is always its beginning.

    log: where named blocks are told as `stored` and `removed`; None to tell nobody.
    """

    def __init__(self, blocks: int, log: CacheLog | None = None) -> None:
        self.blocks = blocks
        self._log = log
        self._taken = 0
        self._pinned: dict[int, int] = {}  # how many running sequences each is part of
        self._idle: dict[int, None] = {}  # the first one goes first

    @property
    def used(self) -> int:
        """Blocks of running sequences, which nothing can evict."""
        return self._taken + len(self._pinned)

    def __contains__(self, name: int) -> bool:
        return name in self._pinned or name in self._idle

    def __len__(self) -> int:
        """How many named blocks are held."""
        return len(self._pinned) + len(self._idle)

    def held(self, names: Sequence[int]) -> int:
        """How many of these, from the first one on, are held."""
        for number, name in enumerate(names):
            if name not in self:
                return number
        return len(names)

    def hold(self, names: Sequence[int], more: int) -> bool:
        """Pins blocks that are held, and takes `more`. False, and nothing has changed, where there is no room."""
        waking = [name for name in names if name in self._idle]
        if self.used + len(waking) + more > self.blocks:
            return False
        for name in waking:
            del self._idle[name]
            self._pinned[name] = 0
        for name in names:
            self._pinned[name] += 1
        self._taken += more
        self._evict()
        return True

    def fill(self, names: Sequence[int]) -> None:
        """Taken blocks are full and computed, and have names from now on. One that is held already is used instead."""
        for name in names:
            self._idle.pop(name, None)
            self._pinned[name] = self._pinned.get(name, 0) + 1
        self._taken -= len(names)
        if self._log is not None:
            self._log.stored(names)

    def release(self, names: Sequence[int], taken: int) -> None:
        """A sequence ends: what it alone had pinned stays for others until the room is needed."""
        self._taken -= taken
        for name in reversed(names):
            self._pinned[name] -= 1
            if not self._pinned[name]:
                del self._pinned[name]
                self._idle[name] = None

    def clear(self) -> None:
        """Forgets every block that no sequence uses."""
        if self._log is not None:
            self._log.removed(self._idle)
        self._idle.clear()

    def _evict(self) -> None:
        excess = self.used + len(self._idle) - self.blocks
        if excess > 0:
            first = iter(self._idle)
            gone = [next(first) for _ in range(excess)]
            for name in gone:
                del self._idle[name]
            if self._log is not None:
                self._log.removed(gone)
