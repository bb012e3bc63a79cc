"""Calls of the worker that a router, or a policy, has chosen for a request."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, cast

from msgspec import convert

from dynamo_nb.llm.instances import others_than
from dynamo_nb.llm.messages import ModelInfo, Placement, TokenDelta, TokenRequest
from dynamo_nb.runtime import Instance, Policy, Request
from dynamo_nb.sdk import dynamo_context, trace_note


class Placing:
    """Where the requests of a Processor go.

    worker, router: its dependencies, of which router may be None. policy: chooses among the workers where it is.
    """

    def __init__(self, worker: Any, router: Any, policy: Policy) -> None:
        self._worker, self._router, self._policy = worker, router, policy
        self._clients: dict[str, Any] = {}

    async def info(self, timeout: float | None = None) -> ModelInfo:
        """What the workers serve. timeout: seconds for them to say so."""
        call = (self._router if self._router is not None else self._worker).info()
        return cast("ModelInfo", await (call if timeout is None else call.using(timeout=timeout)))

    async def call(
        self, endpoint: str, args: list[Any], request: TokenRequest, avoid: list[int], held: AsyncExitStack
    ) -> Any:
        """A call of an endpoint of the worker that is chosen for a request.

        held: keeps the router's stream open while the request runs. avoid: gains the instance.
        """
        if self._router is None:
            if avoid:
                await others_than(avoid, self._worker.generate.client)
            return getattr(self._worker, endpoint)(*args).using(policy=_Avoiding(self._policy, avoid))
        places = await held.enter_async_context(aclosing(aiter(self._router.place(request, avoid))))
        place = cast("Placement", await anext(places))
        avoid.append(place.instance_id)
        trace_note(instance=place.instance_id, overlap=place.overlap, blocks=place.blocks)
        path = place.address.rpartition("/")[0]
        client = await self._client(f"{path}/{endpoint}")
        receive = _delta if endpoint == "generate" else None
        return client.call(args, receive=receive, instance_id=place.instance_id)

    async def _client(self, address: str) -> Any:
        if address not in self._clients:
            self._clients[address] = await dynamo_context["runtime"].endpoint(address).client()
        return self._clients[address]


class _Avoiding:
    """A policy among the workers that a request has not been to, if there are such. avoid: gains what it picks."""

    def __init__(self, policy: Policy, avoid: list[int]) -> None:
        self._policy, self._avoid = policy, avoid

    def pick(self, instances: Sequence[Instance], request: Request) -> Instance:
        others = [each for each in instances if each.instance_id not in self._avoid]
        chosen = self._policy.pick(others or instances, request)
        self._avoid.append(chosen.instance_id)
        return chosen


def _delta(value: Any) -> TokenDelta:
    return convert(value, TokenDelta)
