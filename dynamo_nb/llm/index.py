"""Which worker holds which KV blocks.

A block's name is chained to all that stands before it, so that one flat map is enough: no tree has to be walked, and
nothing has to be compared. Its values are sets of workers as the bits of a number.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence


class BlockIndex:
    """Blocks, named by `blocks.block_hashes`, and the workers that hold them. Alone in changing what it knows.

    Costs some 300 bytes for a block that one worker holds. Taking out a worker costs as much as what it holds.
    """

    def __init__(self) -> None:
        self._holders: dict[int, int] = {}
        self._held: list[set[int]] = []  # by the worker's bit
        self._bits: dict[Hashable, int] = {}
        self._workers: list[Hashable] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        """The blocks that somebody holds."""
        return len(self._holders)

    def stored(self, worker: Hashable, blocks: Iterable[int]) -> None:
        """The worker holds these from now on."""
        bit = self._bit(worker)
        mask, holders = 1 << bit, self._holders
        blocks = list(blocks)
        self._held[bit].update(blocks)
        for block in blocks:
            holders[block] = holders.get(block, 0) | mask

    def removed(self, worker: Hashable, blocks: Iterable[int]) -> None:
        """The worker holds these no longer."""
        bit = self._bits.get(worker)
        if bit is None:
            return
        held, holders, others = self._held[bit], self._holders, ~(1 << bit)
        for block in blocks:
            if block not in held:
                continue
            held.remove(block)
            left = holders[block] & others
            if left:
                holders[block] = left
            else:
                del holders[block]

    def drop(self, worker: Hashable) -> None:
        """The worker holds nothing any more."""
        bit = self._bits.get(worker)
        if bit is None:
            return
        self.removed(worker, list(self._held[bit]))
        del self._bits[worker]
        self._workers[bit] = None
        self._free.append(bit)

    def find(self, blocks: Sequence[int]) -> dict[Hashable, int]:
        """Worker to how many of these blocks it holds, from the first on; without those that hold not even that."""
        found: dict[Hashable, int] = {}
        holders = self._holders
        holding = -1
        for count, block in enumerate(blocks):
            still = holding & holders.get(block, 0)
            if still != holding:
                if count:
                    self._tell(found, holding & ~still, count)
                holding = still
                if not still:
                    return found
        if blocks:
            self._tell(found, holding, len(blocks))
        return found

    def _tell(self, found: dict[Hashable, int], workers: int, count: int) -> None:
        while workers:
            low = workers & -workers
            found[self._workers[low.bit_length() - 1]] = count
            workers ^= low

    def _bit(self, worker: Hashable) -> int:
        bit = self._bits.get(worker)
        if bit is None:
            if self._free:
                bit = self._free.pop()
                self._workers[bit] = worker
            else:
                bit = len(self._workers)
                self._workers.append(worker)
                self._held.append(set())
            self._bits[worker] = bit
        return bit
