"""The workers as a router knows them: their blocks, their load, and the requests that routers have placed on them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from dynamo_nb.llm.cache.costs import QUEUE_WEIGHT, Candidate
from dynamo_nb.llm.cache.index import BlockIndex
from dynamo_nb.llm.messages import Load, OpenPlacement, PlacementEvent, WorkerEvent

RECENT: Final = 16  # placements per worker over which the recent tokens of a worker are counted
BRANCHES: Final = 4096  # blocks after which prompts differed that are remembered: about 0.5 MB


class _Worker:
    """One worker, as the router knows it.

    Attributes:
        load: The engine's last Load.
        open: Keys of the placements that have not ended.
        blocks: KV blocks of their prompts.
        queued: Tokens of their prompts that are not computed yet.
        recent: Tokens of all prompts placed here, the older ones counted less.
        expected: Block -> the placement for which the worker is about to compute it.
    """

    def __init__(self, recent: float) -> None:
        self.load = Load()
        self.open: set[tuple[int, int]] = set()
        self.blocks = self.queued = 0
        self.recent = recent
        self.expected: dict[int, _Open] = {}


class _Open:
    """A placement that has not ended. queued: tokens of its prompt that are not computed yet."""

    def __init__(self, placement: OpenPlacement, block_size: int) -> None:
        self.placement = placement
        self.blocks = math.ceil(placement.tokens / block_size)
        self.queued = placement.tokens - placement.expected * block_size if self.expected else 0

    @property
    def expected(self) -> list[int]:
        """Blocks that the worker computes for this placement. Without them, no event reports the end of its prompt."""
        return self.placement.names[self.placement.expected :]


def _expected(worker: _Worker, names: Sequence[int], overlap: int) -> int:
    """The number of these blocks, from the first one on, that the worker holds or is about to compute."""
    expected = overlap
    while expected < len(names) and names[expected] in worker.expected:
        expected += 1
    return expected


class WorkerTable:
    """The workers of a router: applies their events and the placements of all routers, and describes them to policies.

    Attributes:
        block_size: Tokens in a block.
        total_blocks: KV blocks of a worker that has not reported its load; 0 if unknown.
        index: The blocks that the workers hold.
    """

    def __init__(self, block_size: int = 1, total_blocks: int = 0) -> None:
        self.block_size, self.total_blocks = block_size, total_blocks
        self.index = BlockIndex()
        self._workers: dict[int, _Worker] = {}
        self._open: dict[tuple[int, int], _Open] = {}
        self._branches: dict[int, int] = {}  # block -> prompts that differ after it; the block used last is the last

    @property
    def open_placements(self) -> int:
        """The number of placements of all routers that have not ended."""
        return len(self._open)

    def candidates(self, ids: Iterable[int], names: Sequence[int], tokens: int) -> list[Candidate]:
        """Describes workers from the point of view of one prompt.

        Args:
            ids: The workers.
            names: The full blocks of the prompt.
            tokens: Tokens of the prompt.
        """
        held = self.index.find(names)
        found = [(one, self._worker(one), held.get(one, 0)) for one in ids]
        reach = [_expected(worker, names, overlap) if worker.expected else overlap for _, worker, overlap in found]
        queued = any(worker.queued for _, worker, _ in found)
        uncached = self._costs(names, tokens, reach, least=QUEUE_WEIGHT if queued else 0.0)
        blocks = math.ceil(tokens / self.block_size)
        return [
            self._candidate(one, worker, overlap, blocks, expected, uncached[expected])
            for (one, worker, overlap), expected in zip(found, reach, strict=True)
        ]

    def _costs(self, names: Sequence[int], tokens: int, reach: Iterable[int], least: float) -> dict[int, float]:
        """The tokens to compute where the first blocks are expected, by the number of these blocks.

        Those of a beginning that other prompts share count in part: it is worth a copy on a further worker.

        Args:
            names: The full blocks of the prompt.
            tokens: Tokens of the prompt.
            reach: The numbers of blocks.
            least: The least part; 0 while no request waits, the time for copies.
        """
        size, numbers = self.block_size, set(reach)
        parts = self._shared(names[: max(numbers, default=0)])
        costs = {}
        for expected in numbers:
            saved = sum(
                (1 - max(least, 1 / prompts)) * (end - max(begin, expected))
                for begin, end, prompts in parts
                if end > expected
            )
            costs[expected] = max(1, tokens - expected * size) - saved * size
        return costs

    def _candidate(
        self, instance_id: int, worker: _Worker, overlap: int, blocks: int, expected: int, uncached: float
    ) -> Candidate:
        """A worker for scoring. Requests placed since the engine's last Load are counted."""
        load, active = worker.load, len(worker.open)
        total = load.total_blocks or self.total_blocks
        return Candidate(
            instance_id,
            overlap,
            blocks,
            min(1.0, max(load.used_blocks, worker.blocks) / total) if total else 0.0,
            max(load.waiting, active - load.running),
            worker.blocks,
            active,
            expected,
            uncached,
            worker.queued,
            worker.recent,
        )

    def _shared(self, names: Sequence[int]) -> list[tuple[int, int, int]]:
        """The parts of a prompt that other prompts share: (first block, end, number of these prompts)."""
        branches = self._branches
        parts = []
        ends = [0, *(number for number, name in enumerate(names, 1) if name in branches)]
        prompts = 0
        for begin, end in zip(ends[-2::-1], ends[:0:-1], strict=True):
            prompts = max(prompts, branches[names[end - 1]])
            parts.append((begin, end, prompts))
        return parts

    def place(self, router: int, placement: OpenPlacement) -> None:
        """Records a placement.

        Args:
            router: The router that placed the request.
            placement: The placement.
        """
        worker = self._worker(placement.worker)
        key = router, placement.number
        entry = self._open[key] = _Open(placement, self.block_size)
        worker.open.add(key)
        worker.blocks += entry.blocks
        worker.queued += entry.queued
        for name in entry.expected:
            worker.expected.setdefault(name, entry)
        decay = 1 - 1 / (RECENT * len(self._workers))
        for each in self._workers.values():
            each.recent *= decay
        worker.recent += placement.tokens
        if placement.expected:
            last = placement.names[placement.expected - 1]
            self._branches[last] = self._branches.pop(last, 0) + 1
            if len(self._branches) > BRANCHES:
                del self._branches[next(iter(self._branches))]

    def end(self, router: int, number: int) -> None:
        """Records the end of a placement; no error if it is unknown."""
        key = router, number
        entry = self._open.pop(key, None)
        worker = self._workers.get(entry.placement.worker) if entry is not None else None
        if entry is not None and worker is not None and key in worker.open:
            worker.open.discard(key)
            worker.blocks -= entry.blocks
            self._end_prefill(worker, entry)

    def _end_prefill(self, worker: _Worker, entry: _Open) -> None:
        worker.queued -= entry.queued
        entry.queued = 0
        for name in entry.expected:
            if worker.expected.get(name) is entry:
                del worker.expected[name]

    def apply(self, instance_id: int, event: WorkerEvent) -> None:
        """Applies an event of a worker."""
        worker = self._worker(instance_id)
        if event.cleared:
            self.index.drop(instance_id)
        if event.removed:
            self.index.removed(instance_id, event.removed)
        if event.stored:
            self.index.stored(instance_id, event.stored)
            if worker.expected:
                self._computed(worker, event.stored)
        if event.load is not None:
            worker.load = event.load

    def _computed(self, worker: _Worker, blocks: Iterable[int]) -> None:
        for name in blocks:
            entry = worker.expected.get(name)
            if entry is None:
                continue
            if name == entry.placement.names[-1]:
                self._end_prefill(worker, entry)
            else:
                del worker.expected[name]
                computed = min(self.block_size, entry.queued)
                entry.queued -= computed
                worker.queued -= computed

    def apply_placements(self, router: int, event: PlacementEvent) -> None:
        """Applies an event of another router."""
        if event.cleared:
            self.drop_router(router)
        for placement in event.begun:
            self.place(router, placement)
        for number in event.ended:
            self.end(router, number)

    def forget(self, instance_id: int) -> None:
        """Removes the blocks and the load of a worker whose events cannot be read."""
        self.index.drop(instance_id)
        if instance_id in self._workers:
            self._workers[instance_id].load = Load()

    def keep(self, ids: Collection[int]) -> list[int]:
        """Removes all workers but these, and returns the removed ones."""
        gone = [one for one in self._workers if one not in ids]
        for instance_id in gone:
            del self._workers[instance_id]
            self.index.drop(instance_id)
        return gone

    def drop_router(self, router: int) -> None:
        """Removes the placements of a router."""
        for key in [key for key in self._open if key[0] == router]:
            self.end(*key)

    def _worker(self, instance_id: int) -> _Worker:
        worker = self._workers.get(instance_id)
        if worker is None:
            recent = min((one.recent for one in self._workers.values()), default=0.0)
            worker = self._workers[instance_id] = _Worker(recent)
        return worker
