"""The KV-aware router: sends a request to a worker that holds much of its prompt and has capacity."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from heapq import nlargest
from random import Random
from typing import Any, Final, Literal

from dynamo_nb.errors import EndpointError, RequestError
from dynamo_nb.llm.cache.blocks import block_hashes
from dynamo_nb.llm.cache.costs import Candidate, block_scores, choose, overlap_scores
from dynamo_nb.llm.cache.index import BlockIndex
from dynamo_nb.llm.instances import available_instances
from dynamo_nb.llm.interfaces import NAMESPACE, TokenRouter, TokenWorker
from dynamo_nb.llm.messages import Load, ModelInfo, Placement, TokenRequest, WorkerEvent
from dynamo_nb.sdk import async_on_shutdown, async_on_start, depends, dynamo_endpoint, service, trace_note

logger = logging.getLogger(__name__)

INFO_WAIT: Final = 1.0  # seconds for a new worker to report its model
REOPEN_WAIT: Final = 0.1  # seconds between attempts to open the event stream of a worker
MAX_NOTED: Final = 8  # workers whose scores appear on a trace


class _WorkerState:
    """The router's knowledge of one worker: its last Load, and the requests placed on it that have not ended."""

    def __init__(self) -> None:
        self.load = Load()
        self.requests = 0
        self.blocks = 0
        self.events: asyncio.Task[None] | None = None


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


@service(dynamo={"namespace": NAMESPACE})
class Router(TokenRouter):
    """Chooses a worker for each request, by the blocks that the workers hold, known from events, and by their load."""

    worker = depends(TokenWorker)

    def __init__(
        self,
        policy: Literal["overlap", "blocks"] = "overlap",
        temperature: float = 0.0,
        prefill_weight: float = 1.0,
        request_weight: float = 0.0,
        router_mode: Literal["events", "approx"] = "events",
        approx_ttl: float = 120.0,
        seed: int | None = None,
    ) -> None:
        """Configures the service.

        Args:
            policy: "overlap" for `overlap_scores`, "blocks" for `block_scores`.
            temperature: 0 for the best worker always; above 0 a random choice by softmax of the scores, which differ by
                about 2 with `overlap` and by dozens with `blocks`.
            prefill_weight: See `block_scores`.
            request_weight: See `block_scores`.
            router_mode: "approx" for engines without events: a worker is assumed to hold the blocks of the prompts that
                were placed on it.
            approx_ttl: Seconds for which that is assumed.
            seed: Makes the choice between equal scores repeatable.
        """
        self.policy, self.temperature = policy, temperature
        self.weights = {"prefill_weight": prefill_weight, "request_weight": request_weight}
        self.approx = router_mode == "approx"
        self.random = Random(seed)  # noqa: S311
        self.index = BlockIndex()
        self.workers: dict[int, _WorkerState] = {}
        self.assumed = AssumedBlocks(self.index, approx_ttl)
        self.placed = self.blocks = self.overlap = 0

    @async_on_start
    async def begin(self) -> None:
        self.model: ModelInfo = await self.worker.info()
        self._watcher = asyncio.create_task(self._watch())

    @async_on_shutdown
    async def end(self) -> None:
        self._watcher.cancel()
        for state in self.workers.values():
            if state.events is not None:
                state.events.cancel()

    @dynamo_endpoint()
    async def info(self) -> ModelInfo:
        """Returns the model and the limits of the workers."""
        return self.model

    @dynamo_endpoint()
    async def stats(self) -> dict[str, Any]:
        """Returns counts since the start of this worker.

        Returns:
            `requests` placed, the full `blocks` of their prompts, the `overlap` of blocks that the chosen workers held,
            and `hit_rate`, the share of these.
        """
        rate = self.overlap / self.blocks if self.blocks else 0.0
        return {"requests": self.placed, "blocks": self.blocks, "overlap": self.overlap, "hit_rate": rate}

    @dynamo_endpoint()
    async def place(self, request: TokenRequest, avoid: list[int]) -> AsyncIterator[Placement]:
        """Streams one placement and then stays open: the request counts as running there until the caller closes it.

        Args:
            request: The request.
            avoid: Instances to avoid if there is another one.

        Raises:
            NoInstances: No worker is running.
        """
        client = self.worker.generate.client
        ids = await available_instances(avoid, client)
        now = asyncio.get_running_loop().time()
        self.assumed.expire(now)
        size = self.model.block_size
        names = block_hashes(request.tokens, size, adapter=request.adapter, salt=request.salt)
        held = self.index.find(names)
        blocks = -(-len(request.tokens) // size)
        candidates = [self._candidate(one, held.get(one, 0), blocks) for one in ids]
        if self.policy == "overlap":
            scores = overlap_scores(candidates, len(request.tokens), size)
        else:
            scores = block_scores(candidates, **self.weights)
        chosen = choose(scores, self.temperature, self.random)
        best = candidates[chosen]
        ranked = nlargest(MAX_NOTED, range(len(scores)), key=lambda n: (n == chosen, scores[n]))
        trace_note(
            policy=self.policy,
            chosen=best.instance_id,
            scores=[
                {"worker": candidates[n].instance_id, "score": round(scores[n], 3), "overlap": candidates[n].overlap}
                for n in ranked
            ],
        )
        state = self._state(best.instance_id)
        self.placed, self.blocks, self.overlap = self.placed + 1, self.blocks + len(names), self.overlap + best.overlap
        state.requests, state.blocks = state.requests + 1, state.blocks + blocks
        if self.approx:
            self.assumed.place(now, best.instance_id, names)
        try:
            yield Placement(f"dynamo://{client.path}", best.instance_id, best.overlap, len(names))
            await asyncio.Event().wait()
        finally:
            state.requests, state.blocks = state.requests - 1, state.blocks - blocks

    def _candidate(self, instance_id: int, overlap: int, blocks: int) -> Candidate:
        """A worker for scoring. Requests placed since the engine's last Load are counted."""
        state = self._state(instance_id)
        load = state.load
        total = load.total_blocks or self.model.total_blocks
        usage = min(1.0, max(load.used_blocks, state.blocks) / total) if total else 0.0
        waiting = max(load.waiting, state.requests - load.running)
        return Candidate(instance_id, overlap, blocks, usage, waiting, state.blocks, state.requests)

    def _state(self, instance_id: int) -> _WorkerState:
        state = self.workers.get(instance_id)
        if state is None:
            state = self.workers[instance_id] = _WorkerState()
        return state

    async def _watch(self) -> None:
        """Follows the events of every worker, and drops the blocks of workers that have gone."""
        client = self.worker.generate.client
        before: set[int] = set()
        while True:
            if new := set(client.instance_ids()) - before:
                with suppress(RequestError):  # the new workers may serve something else, with blocks of another size
                    self.model = await self.worker.info().using(instance_id=new.pop(), timeout=INFO_WAIT)
            # Read again after that wait: a change in the meantime is not reported a second time.
            before = present = set(client.instance_ids())
            for instance_id in present:
                state = self._state(instance_id)
                if state.events is None and not self.approx:
                    state.events = asyncio.create_task(self._follow(instance_id, state))
            for instance_id in self.workers.keys() - present:
                state = self.workers.pop(instance_id)
                if state.events is not None:
                    state.events.cancel()
                self.assumed.drop(instance_id)
            await client.wait_for_change()

    async def _follow(self, instance_id: int, state: _WorkerState) -> None:
        """Applies a worker's events. After a gap in their numbers, or their end, it opens the stream again."""
        is_logged = False
        while True:
            expected = 0
            try:
                events = aiter(self.worker.events().using(instance_id=instance_id))
                async with aclosing(events):
                    async for event in events:
                        if event.number != expected:
                            break
                        expected += 1
                        self._apply(instance_id, state, event)
            except RequestError as error:  # the worker has gone, which `_watch` notices, or it comes back
                if isinstance(error, EndpointError) and not is_logged:
                    is_logged = True
                    logger.warning("the event stream of worker %s ended with an error: %s", instance_id, error)
            except Exception:
                logger.exception("worker %s sends invalid events: the router assumes an empty cache", instance_id)
                self.index.drop(instance_id)
                state.load = Load()
                return
            await asyncio.sleep(REOPEN_WAIT)

    def _apply(self, instance_id: int, state: _WorkerState, event: WorkerEvent) -> None:
        if event.cleared:
            self.index.drop(instance_id)
        if event.removed:
            self.index.removed(instance_id, event.removed)
        if event.stored:
            self.index.stored(instance_id, event.stored)
        if event.load is not None:
            state.load = event.load
