"""Calls of the worker that a router, or a routing policy, chose for a request."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, Literal, cast

from msgspec import convert

from dynamo_nb.llm.instances import available_instances
from dynamo_nb.llm.messages import ModelInfo, Placement, TokenDelta, TokenRequest
from dynamo_nb.runtime import Instance, Policy, Request
from dynamo_nb.sdk import dynamo_context, trace_note

RoutingPolicy = Literal["random", "round-robin", "least-loaded", "kv"]
"""Policy by which a Processor chooses workers; "kv" asks a Router."""


class WorkerCalls:
    """Sends the requests of a Processor to workers.

    Args:
        worker: The Processor's dependency on workers.
        router: Its dependency on a router; None if no router is linked.
        policy: Chooses among the workers if there is no router.
    """

    def __init__(self, worker: Any, router: Any, policy: Policy) -> None:
        self._worker, self._router, self._policy = worker, router, policy
        self._clients: dict[str, Any] = {}

    async def info(self, timeout: float | None = None) -> ModelInfo:
        """Returns the model and the limits of the workers.

        Args:
            timeout: Seconds to wait; None for the default of calls.
        """
        call = (self._router if self._router is not None else self._worker).info()
        return cast("ModelInfo", await (call if timeout is None else call.using(timeout=timeout)))

    async def call(
        self, endpoint: str, args: list[Any], request: TokenRequest, avoid: list[int], stack: AsyncExitStack
    ) -> Any:
        """Returns a call of an endpoint of the worker that is chosen for a request.

        Args:
            endpoint: "generate" or "embed".
            args: The arguments of the call.
            request: The request for which a worker is chosen.
            avoid: Instances that the request has been to. The chosen one is added.
            stack: Keeps the router's stream open while the request runs.

        Raises:
            NoInstances: No worker is running.
        """
        if self._router is None:
            if avoid:
                await available_instances(avoid, self._worker.generate.client)
            return getattr(self._worker, endpoint)(*args).using(policy=_Avoiding(self._policy, avoid))
        placements = await stack.enter_async_context(aclosing(aiter(self._router.place(request, avoid))))
        placement = cast("Placement", await anext(placements))
        avoid.append(placement.instance_id)
        trace_note(instance=placement.instance_id, overlap=placement.overlap, blocks=placement.blocks)
        path = placement.address.rpartition("/")[0]
        client = await self._client(f"{path}/{endpoint}")
        receive = _delta if endpoint == "generate" else None
        return client.call(args, receive=receive, instance_id=placement.instance_id)

    async def _client(self, address: str) -> Any:
        if address not in self._clients:
            self._clients[address] = await dynamo_context["runtime"].endpoint(address).client()
        return self._clients[address]


class _Avoiding:
    """Applies a policy to the workers that a request has not been to, if there are any, and adds its choice to them."""

    def __init__(self, policy: Policy, avoid: list[int]) -> None:
        self._policy, self._avoid = policy, avoid

    def pick(self, instances: Sequence[Instance], request: Request) -> Instance:
        others = [each for each in instances if each.instance_id not in self._avoid]
        chosen = self._policy.pick(others or instances, request)
        self._avoid.append(chosen.instance_id)
        return chosen


def _delta(value: Any) -> TokenDelta:
    return convert(value, TokenDelta)
