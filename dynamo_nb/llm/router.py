"""The KV-aware router: sends a request to a worker that has much of its prompt in its cache, and room."""

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
from dynamo_nb.llm.instances import others_than
from dynamo_nb.llm.interfaces import TokenRouter, TokenWorker
from dynamo_nb.llm.messages import Load, ModelInfo, Placement, TokenRequest, WorkerEvent
from dynamo_nb.llm.worker import NAMESPACE
from dynamo_nb.sdk import async_on_shutdown, async_on_start, depends, dynamo_endpoint, service, trace_note

logger = logging.getLogger(__name__)

INFO_WAIT: Final = 1.0  # seconds for a worker that has come to say what it serves
REOPEN_WAIT: Final = 0.1  # seconds before events are asked for again, of a worker that did not give any
EXPLAINED: Final = 8  # workers whose scores a trace shows


class _Known:
    """What the router knows of one worker: its last Load, and what was placed on it and has not ended."""

    def __init__(self) -> None:
        self.load = Load()
        self.requests = 0
        self.blocks = 0
        self.events: asyncio.Task[None] | None = None


class Supposed:
    """Blocks that workers are supposed to hold: for `lasting` seconds since a prompt of them was last placed there.

    Times are those of any clock that only goes on.
    """

    def __init__(self, index: BlockIndex, lasting: float) -> None:
        self._index, self._lasting = index, lasting
        self._placed: deque[tuple[float, int, list[int]]] = deque()
        self._until: dict[int, dict[int, float]] = {}  # of each worker's blocks

    def place(self, now: float, worker: int, blocks: list[int]) -> None:
        """A prompt of these blocks is placed on the worker."""
        until = now + self._lasting
        self._index.stored(worker, blocks)
        self._placed.append((until, worker, blocks))
        self._until.setdefault(worker, {}).update(dict.fromkeys(blocks, until))

    def forget(self, now: float) -> None:
        """Takes out what has had its time, and was not placed again since."""
        while self._placed and self._placed[0][0] <= now:
            end, worker, blocks = self._placed.popleft()
            until = self._until.get(worker, {})
            over = [block for block in blocks if until.get(block) == end]
            for block in over:
                del until[block]
            self._index.removed(worker, over)

    def drop(self, worker: int) -> None:
        """The worker has gone, and what it held."""
        self._until.pop(worker, None)
        self._index.drop(worker)


@service(dynamo={"namespace": NAMESPACE})
class Router(TokenRouter):
    """Places requests by the blocks that workers hold, told by their events, and by their load."""

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
        """policy, prefill_weight, request_weight: see `costs`. temperature: 0 for the best one always, in the policy's
        own scores, which differ by some 2 for `overlap` and by dozens for `blocks`.

        router_mode: "approx" for engines without events: what was placed on a worker counts as held for `approx_ttl`
        seconds since the last time. seed: makes the choice among equals repeatable.
        """
        self.policy, self.temperature = policy, temperature
        self.weights = {"prefill_weight": prefill_weight, "request_weight": request_weight}
        self.approx = router_mode == "approx"
        self.random = Random(seed)  # noqa: S311
        self.index = BlockIndex()
        self.known: dict[int, _Known] = {}
        self.supposed = Supposed(self.index, approx_ttl)
        self.placed = self.blocks = self.overlap = 0

    @async_on_start
    async def begin(self) -> None:
        self.model: ModelInfo = await self.worker.info()
        self._watching = asyncio.create_task(self._watch())

    @async_on_shutdown
    async def end(self) -> None:
        self._watching.cancel()
        for known in self.known.values():
            if known.events is not None:
                known.events.cancel()

    @dynamo_endpoint()
    async def info(self) -> ModelInfo:
        """What the workers serve."""
        return self.model

    @dynamo_endpoint()
    async def stats(self) -> dict[str, Any]:
        """Requests placed, the full blocks of their prompts and how many of those were held where they went."""
        rate = self.overlap / self.blocks if self.blocks else 0.0
        return {"requests": self.placed, "blocks": self.blocks, "overlap": self.overlap, "hit_rate": rate}

    @dynamo_endpoint()
    async def place(self, request: TokenRequest, avoid: list[int]) -> AsyncIterator[Placement]:
        """One placement, on none of `avoid` where there is another; then the stream stays open.

        The request counts as running there until the stream is closed. Raises NoInstances when no worker comes.
        """
        client = self.worker.generate.client
        ids = await others_than(avoid, client)
        now = asyncio.get_running_loop().time()
        self.supposed.forget(now)
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
        ranked = nlargest(EXPLAINED, range(len(scores)), key=lambda place: (place == chosen, scores[place]))
        trace_note(
            policy=self.policy,
            chosen=best.instance_id,
            scores=[
                {"worker": candidates[n].instance_id, "score": round(scores[n], 3), "overlap": candidates[n].overlap}
                for n in ranked
            ],
        )
        known = self._of(best.instance_id)
        self.placed, self.blocks, self.overlap = self.placed + 1, self.blocks + len(names), self.overlap + best.overlap
        known.requests, known.blocks = known.requests + 1, known.blocks + blocks
        if self.approx:
            self.supposed.place(now, best.instance_id, names)
        try:
            yield Placement(f"dynamo://{client.path}", best.instance_id, best.overlap, len(names))
            await asyncio.Event().wait()
        finally:
            known.requests, known.blocks = known.requests - 1, known.blocks - blocks

    def _candidate(self, instance_id: int, overlap: int, blocks: int) -> Candidate:
        """Between two Loads of an engine, what was placed on it since counts."""
        known = self._of(instance_id)
        load = known.load
        total = load.total_blocks or self.model.total_blocks
        usage = min(1.0, max(load.used_blocks, known.blocks) / total) if total else 0.0
        waiting = max(load.waiting, known.requests - load.running)
        return Candidate(instance_id, overlap, blocks, usage, waiting, known.blocks, known.requests)

    def _of(self, instance_id: int) -> _Known:
        known = self.known.get(instance_id)
        if known is None:
            known = self.known[instance_id] = _Known()
        return known

    async def _watch(self) -> None:
        """Follows the events of every worker there is; the blocks of one that has gone vanish with it."""
        client = self.worker.generate.client
        before: set[int] = set()
        while True:
            if new := set(client.instance_ids()) - before:
                with suppress(RequestError):  # other workers may serve something else: blocks of another size
                    self.model = await self.worker.info().using(instance_id=new.pop(), timeout=INFO_WAIT)
            # As it is now, after that wait: what changed meanwhile is not told again.
            before = there = set(client.instance_ids())
            for instance_id in there:
                known = self._of(instance_id)
                if known.events is None and not self.approx:
                    known.events = asyncio.create_task(self._follow(instance_id, known))
            for instance_id in self.known.keys() - there:
                known = self.known.pop(instance_id)
                if known.events is not None:
                    known.events.cancel()
                self.supposed.drop(instance_id)
            await client.wait_for_change()

    async def _follow(self, instance_id: int, known: _Known) -> None:
        """Applies a worker's events. A gap in their numbers, or their end, means: once more from the beginning."""
        failed = False
        while True:
            due = 0
            try:
                events = aiter(self.worker.events().using(instance_id=instance_id))
                async with aclosing(events):
                    async for event in events:
                        if event.number != due:
                            break
                        due += 1
                        self._apply(instance_id, known, event)
            except RequestError as error:  # the worker has gone, which the watch sees, or comes again
                if isinstance(error, EndpointError) and not failed:
                    failed = True
                    logger.warning("the events of worker %s ended with an error: %s", instance_id, error)
            except Exception:
                logger.exception("the events of worker %s are none: it counts as holding nothing", instance_id)
                self.index.drop(instance_id)
                known.load = Load()
                return
            await asyncio.sleep(REOPEN_WAIT)

    def _apply(self, instance_id: int, known: _Known, event: WorkerEvent) -> None:
        if event.cleared:
            self.index.drop(instance_id)
        if event.removed:
            self.index.removed(instance_id, event.removed)
        if event.stored:
            self.index.stored(instance_id, event.stored)
        if event.load is not None:
            known.load = event.load
