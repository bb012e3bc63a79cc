"""The KV-aware router: sends a request to the worker that is expected to begin its answer first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from heapq import nlargest
from typing import Any, Final, Literal

from msgspec import convert

from dynamo_nb.errors import RequestError
from dynamo_nb.llm.cache.assumed import AssumedBlocks
from dynamo_nb.llm.cache.blocks import block_hashes
from dynamo_nb.llm.cache.placer import Decision, PlacementPolicy, Placer, Scoring
from dynamo_nb.llm.following import Following
from dynamo_nb.llm.instances import available_instances
from dynamo_nb.llm.interfaces import NAMESPACE, TokenRouter, TokenWorker
from dynamo_nb.llm.messages import ModelInfo, OpenPlacement, Placement, PlacementEvent, TokenRequest, WorkerEvent
from dynamo_nb.sdk import (
    async_on_shutdown,
    async_on_start,
    depends,
    dynamo_context,
    dynamo_endpoint,
    service,
    trace_note,
)

INFO_WAIT: Final = 1.0  # seconds for a new worker to report its model
MAX_NOTED: Final = 8  # workers whose scores appear on a trace


@service(dynamo={"namespace": NAMESPACE})
class Router(TokenRouter):
    """Chooses a worker for each request, by the blocks that the workers hold, known from events, and by their load.

    The workers of a Router tell each other what they have placed, so that each knows the load from all of them.
    """

    worker = depends(TokenWorker)

    def __init__(
        self,
        policy: PlacementPolicy = "first_token",
        temperature: float = 0.0,
        prefill_weight: float = 1.0,
        request_weight: float = 0.0,
        router_mode: Literal["events", "approx"] = "events",
        approx_ttl: float = 120.0,
        seed: int | None = None,
    ) -> None:
        """Configures the service.

        Args:
            policy: "first_token" for `first_token_scores`, which is best or close to it under any load; "overlap" for
                `overlap_scores`; "blocks" for `block_scores`.
            temperature: 0 for the best worker always; above 0 a random choice by softmax of the scores, which differ by
                about 1 with `first_token`, by 2 with `overlap` and by dozens with `blocks`.
            prefill_weight: See `block_scores`.
            request_weight: See `block_scores`.
            router_mode: "approx" for engines without events: a worker is assumed to hold the blocks of the prompts that
                were placed on it.
            approx_ttl: Seconds for which that is assumed.
            seed: Makes the choice between equal scores repeatable.
        """
        self.scoring = Scoring(
            policy=policy, temperature=temperature, prefill_weight=prefill_weight, request_weight=request_weight
        )
        self.approx, self.seed = router_mode == "approx", seed
        self.approx_ttl = approx_ttl
        self.placed = self.blocks = self.overlap = 0

    @async_on_start
    async def begin(self) -> None:
        own = dynamo_context["instance_id"]
        self.placer = Placer(self.scoring, own, self.seed)
        self.table = self.placer.table
        self.assumed = AssumedBlocks(self.table.index, self.approx_ttl)
        self._set_model(await self.worker.info())
        routers = await dynamo_context["component"].endpoint("placements").client()

        def placements(router: int) -> Any:
            return routers.call(instance_id=router, receive=_placement_event)

        self._workers = Following[WorkerEvent](self._worker_events, self.table.apply, self.table.forget, "worker")
        self._routers = Following[PlacementEvent](placements, self._apply_placements, self.table.drop_router, "router")
        self._watchers = [asyncio.create_task(self._watch_workers()), asyncio.create_task(self._watch_routers(routers))]

    @async_on_shutdown
    async def end(self) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        self._workers.stop()
        self._routers.stop()

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
    async def placements(self) -> AsyncIterator[PlacementEvent]:
        """Streams the open placements of this router and then every change; the stream does not end."""
        async with aclosing(self.placer.log.follow()) as events:  # type: ignore[type-var]
            async for event in events:
                yield event

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
        if self.approx:
            self.assumed.expire(asyncio.get_running_loop().time())
        names = block_hashes(request.tokens, self.model.block_size, adapter=request.adapter, salt=request.salt)
        decision = self.placer.place(ids, names, len(request.tokens))
        placement = decision.placement
        try:
            self._note(decision)
            self.placed, self.blocks = self.placed + 1, self.blocks + len(names)
            self.overlap += placement.overlap
            if self.approx:
                self._assume(placement)
            yield Placement(f"dynamo://{client.path}", placement.worker, placement.overlap, len(names))
            await asyncio.Event().wait()
        finally:
            self.placer.end(placement)

    def _note(self, decision: Decision) -> None:
        """Records the scores on the trace."""
        _, candidates, scores, chosen = decision
        ranked = nlargest(MAX_NOTED, range(len(scores)), key=lambda n: (n == chosen, scores[n]))
        trace_note(
            policy=self.scoring.policy,
            chosen=candidates[chosen].instance_id,
            scores=[
                {"worker": candidates[n].instance_id, "score": round(scores[n], 3), "overlap": candidates[n].overlap}
                for n in ranked
            ],
        )

    def _set_model(self, model: ModelInfo) -> None:
        self.model = model
        self.table.block_size, self.table.total_blocks = model.block_size, model.total_blocks

    def _worker_events(self, instance_id: int) -> Any:
        return self.worker.events().using(instance_id=instance_id)

    def _assume(self, placement: OpenPlacement) -> None:
        self.assumed.place(asyncio.get_running_loop().time(), placement.worker, placement.names)

    def _apply_placements(self, router: int, event: PlacementEvent) -> None:
        """Applies an event of another router."""
        self.table.apply_placements(router, event)
        if self.approx:
            for placement in event.begun:
                self._assume(placement)

    async def _watch_workers(self) -> None:
        """Follows the events of every worker, and removes workers that have gone."""
        client = self.worker.generate.client
        before: set[int] = set()
        while True:
            if new := set(client.instance_ids()) - before:
                with suppress(RequestError):  # the new workers may serve something else, with blocks of another size
                    self._set_model(await self.worker.info().using(instance_id=new.pop(), timeout=INFO_WAIT))
            # Read again after that wait: a change in the meantime is not reported a second time.
            present = set(client.instance_ids())
            if not self.approx:
                self._workers.update(present)
            for instance_id in self.table.keep(present):
                self.assumed.drop(instance_id)
            before = present
            await client.wait_for_change()

    async def _watch_routers(self, routers: Any) -> None:
        """Follows the placements of every other worker of this service."""
        while True:
            self._routers.update(set(routers.instance_ids()) - {self.placer.router})
            await routers.wait_for_change()


def _placement_event(value: Any) -> PlacementEvent:
    return convert(value, PlacementEvent)
