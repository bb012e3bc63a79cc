"""Reports of the HTTP applications of workers, for clients: the routes, and the latest requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from dynamo_nb.supervisor.lifeline import REPLY_LIMIT
from dynamo_nb.supervisor.registry import WorkerRegistry
from dynamo_nb.supervisor.worker_process import WorkerProcess

ROUTES_LIMIT: Final = 3.0
"""Seconds to wait for the routes of a worker. Their examples may depend on answers of other services."""


class HttpReports:
    """Requests reports from the workers in a registry, on the supervisor's loop."""

    def __init__(self, registry: WorkerRegistry) -> None:
        self._registry = registry

    async def routes(self, service: str) -> dict[str, Any] | None:
        """Returns the routes of a service, from the first ready worker that answers in time; None if none does.

        Args:
            service: name of the service.
        """
        status = self._registry.status().get(service)
        ready = {worker.id for worker in status.ready_workers if worker.url} if status is not None else set()
        for worker in [worker for worker in self._registry.workers if worker.id in ready]:
            try:
                async with asyncio.timeout(ROUTES_LIMIT):
                    found: dict[str, Any] | None = await worker.lifeline.http("routes")
            except TimeoutError:
                continue
            if found is not None:
                return found
        return None

    async def requests(self, after: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
        """Returns the latest requests over HTTP by worker, see `HttpTraffic.latest`. Workers without one are left out.

        Args:
            after: the number of the last known request, by worker.
        """

        async def ask(worker: WorkerProcess) -> tuple[str, list[dict[str, Any]]]:
            try:
                async with asyncio.timeout(REPLY_LIMIT):
                    return worker.id, await worker.lifeline.http("requests", after.get(worker.id, 0)) or []
            except TimeoutError:
                return worker.id, []

        serving = [worker for worker in self._registry.workers if worker.url]
        return {worker: found for worker, found in await asyncio.gather(*map(ask, serving)) if found}
