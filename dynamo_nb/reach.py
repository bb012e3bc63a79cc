"""Calls from another process into a deployment: by what it serves, without the code of its services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamo_nb.deploy.control import ControlClient
from dynamo_nb.graph.spec import GraphSpec
from dynamo_nb.observe.request import Request
from dynamo_nb.runtime.access import Access
from dynamo_nb.runtime.distributed import DistributedRuntime
from dynamo_nb.sdk.call import Call


@dataclass(frozen=True)
class Reach:
    """What a deployment serves, and how its workers are reached."""

    spec: GraphSpec
    access: Access

    @classmethod
    async def of(cls, control: Path) -> Reach:
        """Asks the supervisor at this socket. Raises ConnectError if it does not answer."""
        client = await ControlClient.connect(control)
        try:
            spec = GraphSpec.model_validate(await client.request("spec"))
            return cls(spec, Access(**await client.request("access")))
        finally:
            await client.close()

    @asynccontextmanager
    async def calls(self, requests: Sequence[Request]) -> AsyncIterator[Sequence[Call[Any]]]:
        """The requests as calls, over connections of the loop that runs."""
        runtime = await DistributedRuntime.connect(**vars(self.access))
        try:
            made: list[Call[Any]] = []
            clients = {}
            for request in requests:
                namespace = self.spec.services[request.service].namespace
                place = namespace, request.service, request.endpoint.name
                if place not in clients:
                    clients[place] = await runtime.namespace(place[0]).component(place[1]).endpoint(place[2]).client()
                made.append(clients[place].call(request.args, request.kwargs))
            yield made
        finally:
            await runtime.close()
