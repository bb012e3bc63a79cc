"""The bookkeeping of a paged prefix cache: its blocks, which sequences use them, and the order of eviction."""

from __future__ import annotations

from collections.abc import Sequence

from dynamo_nb.llm.cache.log import CacheLog


class PagedCache:
    """A fixed number of blocks, each in one of four states.

    - free;
    - *open*: part of a running sequence, not full yet and therefore without a name;
    - *pinned*: full, named, and part of at least one running sequence;
    - *idle*: full, named, and kept until its space is needed; the least recently used block goes first.

    The tail of a sequence is evicted before its head, so that the cache always holds a prefix of the sequence.

    Args:
        blocks: Number of blocks.
        log: Receives the named blocks as `stored` and `removed`; None to publish nothing.
    """

    def __init__(self, blocks: int, log: CacheLog | None = None) -> None:
        self.blocks = blocks
        self._log = log
        self._open = 0
        self._pinned: dict[int, int] = {}  # block -> number of running sequences that use it
        self._idle: dict[int, None] = {}  # in the order of eviction

    @property
    def used(self) -> int:
        """The blocks of running sequences, which cannot be evicted."""
        return self._open + len(self._pinned)

    def __contains__(self, name: int) -> bool:
        return name in self._pinned or name in self._idle

    def __len__(self) -> int:
        """The number of named blocks."""
        return len(self._pinned) + len(self._idle)

    def leading(self, names: Sequence[int]) -> int:
        """Returns how many of these blocks, from the first one on, are in the cache."""
        for number, name in enumerate(names):
            if name not in self:
                return number
        return len(names)

    def allocate(self, names: Sequence[int], more: int) -> bool:
        """Pins blocks that are in the cache and opens new ones.

        Args:
            names: The blocks to pin.
            more: Number of blocks to open.

        Returns:
            False if there is not enough space; nothing has changed then.
        """
        waking = [name for name in names if name in self._idle]
        if self.used + len(waking) + more > self.blocks:
            return False
        for name in waking:
            del self._idle[name]
            self._pinned[name] = 0
        for name in names:
            self._pinned[name] += 1
        self._open += more
        self._evict()
        return True

    def fill(self, names: Sequence[int]) -> None:
        """Names open blocks that have become full. If a block of that name is in the cache already, it is used."""
        for name in names:
            self._idle.pop(name, None)
            self._pinned[name] = self._pinned.get(name, 0) + 1
        self._open -= len(names)
        if self._log is not None:
            self._log.stored(names)

    def release(self, names: Sequence[int], opened: int) -> None:
        """Frees the blocks of a sequence that has ended. Named ones stay for others until the space is needed.

        Args:
            names: The sequence's named blocks.
            opened: The number of its open blocks.
        """
        self._open -= opened
        for name in reversed(names):
            self._pinned[name] -= 1
            if not self._pinned[name]:
                del self._pinned[name]
                self._idle[name] = None

    def clear(self) -> None:
        """Removes every block that no sequence uses."""
        if self._log is not None:
            self._log.removed(self._idle)
        self._idle.clear()

    def _evict(self) -> None:
        excess = self.used + len(self._idle) - self.blocks
        if excess > 0:
            first = iter(self._idle)
            evicted = [next(first) for _ in range(excess)]
            for name in evicted:
                del self._idle[name]
            if self._log is not None:
                self._log.removed(evicted)
