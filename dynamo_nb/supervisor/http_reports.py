"""Reports of the HTTP applications of workers, for clients: the routes, and the latest requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from dynamo_nb.supervisor.lifeline import REPLY_LIMIT
from dynamo_nb.supervisor.registry import WorkerRegistry
from dynamo_nb.supervisor.worker_process import WorkerProcess

ROUTES_LIMIT: Final = 3.0
"""Seconds to wait for the routes of a worker, whose examples may need answers of other services."""


class HttpReports:
    """Asks the workers in a registry, on the supervisor's loop."""

    def __init__(self, registry: WorkerRegistry) -> None:
        self._registry = registry

    async def routes(self, service: str) -> dict[str, Any] | None:
        """The routes of a service, as the first ready worker that answers in time reports them; None without one."""
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
        """The latest requests over HTTP of all workers, by worker; see `HttpTraffic.latest`.

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
