"""Which worker holds which KV blocks.

A block's name is chained to all that stands before it, so that one flat map is enough: no tree has to be walked, and
nothing has to be compared. Its values are sets of workers as the bits of a number.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence


class BlockIndex:
    """Blocks, named by `blocks.block_hashes`, and the workers that hold them. Alone in changing what it knows.

    Costs 80 to 115 bytes for a block, however many workers hold it: the name takes 48, its place in the map 34 to 67.
    The set of its holders is one number shared by all blocks that have the same only as far as they came in one event;
    a block that shares with none costs 28 bytes and a bit for each worker more. The benchmark `index` measures it.

    Taking out a worker costs nothing at once. What it held is taken out of the map when more workers have gone than
    are left: 26 ns for each block that there is.
    """

    def __init__(self) -> None:
        self._holders: dict[int, int] = {}
        self._own: dict[Hashable, int] = {}  # the bit of each worker
        self._workers: list[Hashable] = []  # by the place of its bit
        self._live = 0  # the bits of all workers there are
        self._gone = 0  # how many bits are still in the map of workers that there are no more
        self._free: list[int] = []

    def __len__(self) -> int:
        """The blocks that somebody holds."""
        live = self._live
        return sum(1 for mask in self._holders.values() if mask & live)

    def stored(self, worker: Hashable, blocks: Iterable[int]) -> None:
        """The worker holds these from now on."""
        own = self._own.get(worker) or self._come(worker)
        # Blocks that came together mostly have the same holders, which are worked out once and are one number.
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
        """The worker holds these no longer."""
        own = self._own.get(worker)
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
        """The worker holds nothing any more."""
        own = self._own.pop(worker, None)
        if own is None:
            return
        self._live ^= own
        self._gone += 1
        if self._gone > len(self._own):
            self._sweep()

    def find(self, blocks: Sequence[int]) -> dict[Hashable, int]:
        """Worker to how many of these blocks it holds, from the first on; without those that hold not even that."""
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
                    self._tell(found, holding ^ still, count)
                holding = still
                if not still:
                    return found
        if blocks:
            self._tell(found, holding, len(blocks))
        return found

    def _tell(self, found: dict[Hashable, int], workers: int, count: int) -> None:
        while workers:
            place = workers.bit_length() - 1
            found[self._workers[place]] = count
            workers ^= 1 << place

    def _come(self, worker: Hashable) -> int:
        if self._free:
            place = self._free.pop()
            self._workers[place] = worker
        else:
            place = len(self._workers)
            self._workers.append(worker)
        own = self._own[worker] = 1 << place
        self._live |= own
        return own

    def _sweep(self) -> None:
        """Takes out what workers held that there are no more; their bits are free then."""
        live = self._live
        before = left = 0
        nobody = []
        for block, mask in self._holders.items():
            if mask is not before:
                before, left = mask, mask & live
            if not left:
                nobody.append(block)
            elif left != mask:
                self._holders[block] = left
        for block in nobody:
            del self._holders[block]
        self._free = [place for place in range(len(self._workers)) if not live >> place & 1]
        self._gone = 0
