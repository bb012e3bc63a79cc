"""Which workers hold which KV blocks.

A block's name is chained to everything before the block, so that a flat map is enough: no tree is walked and no tokens
are compared. Its values are sets of workers, as the bits of an integer.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence


class BlockIndex:
    """A map from blocks, named by `block_hashes`, to the workers that hold them.

    A block costs 80 to 115 bytes, however many workers hold it: 48 for the name, 34 to 67 for its entry in the map.
    Blocks with the same holders share one integer for the set only if they came in one event; a block that shares with
    none costs 28 bytes more and a bit for each worker. The benchmark `index` measures it.

    Removing a worker costs nothing at first. Its blocks are removed from the map when more workers have been removed
    than are left, which takes 26 ns for each block in the map.
    """

    def __init__(self) -> None:
        self._holders: dict[int, int] = {}
        self._bits: dict[Hashable, int] = {}  # worker -> its bit
        self._workers: list[Hashable] = []  # by the position of the bit
        self._live = 0  # the bits of all workers
        self._stale = 0  # removed workers whose bits are still in the map
        self._free: list[int] = []

    def __len__(self) -> int:
        """The number of blocks that at least one worker holds."""
        live = self._live
        return sum(1 for mask in self._holders.values() if mask & live)

    def stored(self, worker: Hashable, blocks: Iterable[int]) -> None:
        """Records that the worker holds these blocks."""
        own = self._bits.get(worker) or self._add(worker)
        # Blocks of one event mostly have the same holders: the set is computed once, and shared.
        before = joined = own
        holders = self._holders
        setdefault = holders.setdefault
        for block in blocks:
            mask = setdefault(block, own)
            if mask is not own:
                if mask is not before:
                    before, joined = mask, mask & self._live | own
                holders[block] = joined

    def removed(self, worker: Hashable, blocks: Iterable[int]) -> None:
        """Records that the worker holds these blocks no longer."""
        own = self._bits.get(worker)
        if own is None:
            return
        others = self._live ^ own
        before = left = 0
        holders = self._holders
        get = holders.get
        for block in blocks:
            mask = get(block)
            if mask is None:
                continue
            if mask is not before:
                before, left = mask, mask & others
            if left:
                holders[block] = left
            else:
                del holders[block]

    def drop(self, worker: Hashable) -> None:
        """Removes a worker and all its blocks."""
        own = self._bits.pop(worker, None)
        if own is None:
            return
        self._live ^= own
        self._stale += 1
        if self._stale > len(self._bits):
            self._sweep()

    def find(self, blocks: Sequence[int]) -> dict[Hashable, int]:
        """Returns how many of these blocks, from the first one on, each worker holds; workers with none are absent."""
        found: dict[Hashable, int] = {}
        get = self._holders.get
        holding = last = self._live
        for count, block in enumerate(blocks):
            mask = get(block, 0)
            if mask is last:
                continue
            last = mask
            still = holding & mask
            if still != holding:
                if count:
                    self._record(found, holding ^ still, count)
                holding = still
                if not still:
                    return found
        if blocks:
            self._record(found, holding, len(blocks))
        return found

    def _record(self, found: dict[Hashable, int], workers: int, count: int) -> None:
        while workers:
            position = workers.bit_length() - 1
            found[self._workers[position]] = count
            workers ^= 1 << position

    def _add(self, worker: Hashable) -> int:
        if self._free:
            position = self._free.pop()
            self._workers[position] = worker
        else:
            position = len(self._workers)
            self._workers.append(worker)
        own = self._bits[worker] = 1 << position
        self._live |= own
        return own

    def _sweep(self) -> None:
        """Removes the blocks of removed workers from the map, and frees their bits."""
        live = self._live
        before = left = 0
        orphaned = []
        for block, mask in self._holders.items():
            if mask is not before:
                before, left = mask, mask & live
            if not left:
                orphaned.append(block)
            elif left != mask:
                self._holders[block] = left
        for block in orphaned:
            del self._holders[block]
        self._free = [position for position in range(len(self._workers)) if not live >> position & 1]
        self._stale = 0
