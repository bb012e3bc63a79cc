"""Blocks that workers are assumed to hold, for engines that do not report theirs."""

from __future__ import annotations

from collections import deque

from dynamo_nb.llm.cache.index import BlockIndex


class AssumedBlocks:
    """Blocks that workers are assumed to hold, for some seconds after a prompt with them was last placed there.

    Times are those of any monotonic clock.

    Args:
        index: Receives the blocks.
        ttl: Seconds for which a worker is assumed to hold a block.
    """

    def __init__(self, index: BlockIndex, ttl: float) -> None:
        self._index, self._ttl = index, ttl
        self._placed: deque[tuple[float, int, list[int]]] = deque()
        self._until: dict[int, dict[int, float]] = {}  # worker -> block -> time

    def place(self, now: float, worker: int, blocks: list[int]) -> None:
        """Records that a prompt with these blocks is placed on the worker."""
        until = now + self._ttl
        self._index.stored(worker, blocks)
        self._placed.append((until, worker, blocks))
        self._until.setdefault(worker, {}).update(dict.fromkeys(blocks, until))

    def expire(self, now: float) -> None:
        """Removes blocks whose time has passed and that were not placed again."""
        while self._placed and self._placed[0][0] <= now:
            end, worker, blocks = self._placed.popleft()
            until = self._until.get(worker, {})
            expired = [block for block in blocks if until.get(block) == end]
            for block in expired:
                del until[block]
            self._index.removed(worker, expired)

    def drop(self, worker: int) -> None:
        """Removes a worker and all its blocks."""
        self._until.pop(worker, None)
        self._index.drop(worker)
