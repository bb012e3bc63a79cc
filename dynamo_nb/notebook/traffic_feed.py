"""Measurements for the graphs that a user is looking at."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from dynamo_nb.control.events import ServiceError
from dynamo_nb.control.log_lines import LogLine
from dynamo_nb.control.state_dir import CONTROL
from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.errors import DynamoError
from dynamo_nb.observe.event_table import ServiceErrors
from dynamo_nb.observe.log_reader import AccessLog
from dynamo_nb.observe.route import Route
from dynamo_nb.observe.traffic import Traffic, TrafficWindow

INTERVAL: Final = 0.5
"""Seconds between two measurements."""
REQUESTS: Final = 200
"""Number of latest requests over HTTP that are shown for a deployment."""


class TrafficFeed:
    """Reads the metrics of deployments while they are watched. It runs on the portal's loop.

    Args:
        watched: Returns the deployments that a user is looking at.
        show: Called with a deployment and its traffic after each measurement.
    """

    def __init__(self, watched: Callable[[], set[Deployment]], show: Callable[[Deployment, Traffic], None]) -> None:
        self._watched, self._show = watched, show
        self._tasks: dict[Deployment, asyncio.Task[None]] = {}
        self._latest: dict[Deployment, Traffic] = {}
        self._routes: dict[Deployment, tuple[object, dict[str, list[Route]]]] = {}
        self._access: dict[Deployment, AccessLog] = {}
        self._requests: dict[Deployment, deque[LogLine]] = {}
        self._errors: dict[Deployment, ServiceErrors] = {}

    def latest(self, deployment: Deployment) -> Traffic:
        """Returns the latest traffic of a deployment; empty if it is not watched."""
        return self._latest.get(deployment) or Traffic()

    def routes(self, deployment: Deployment, service: str) -> list[Route]:
        """Returns the HTTP routes of a service; none if its deployment is not watched."""
        _, routes = self._routes.get(deployment, (None, {}))
        return routes.get(service, [])

    def requests(self, deployment: Deployment, service: str) -> list[LogLine]:
        """Returns the latest requests of a service over HTTP; none if the access log is off."""
        return [line for line in self._requests.get(deployment, ()) if line.worker.partition("[")[0] == service]

    def show_requests(self, deployment: Deployment, *, shown: bool) -> None:
        """Turns the access log of a deployment on or off."""
        if deployment not in self._access:
            self._access[deployment] = AccessLog(deployment.folder / CONTROL, lines=REQUESTS)
        self._access[deployment].shown = shown
        if not shown:
            self._requests.pop(deployment, None)

    def errors(self, deployment: Deployment, service: str) -> list[ServiceError]:
        """Returns the latest errors of a service; none if its deployment is not watched."""
        return [error for error in self._errors.get(deployment, ()) if error.service == service]

    def update(self) -> None:
        """Starts to measure the watched deployments. The measurement of a deployment ends by itself."""
        for deployment in self._watched():
            if deployment not in self._tasks:
                self._tasks[deployment] = asyncio.create_task(self._measure(deployment))

    async def _measure(self, deployment: Deployment) -> None:
        window, reports = TrafficWindow(), 0
        try:
            while deployment in self._watched():
                numbers = await deployment.metrics()
                if numbers.get("error_reports", 0) != reports:
                    reports = numbers["error_reports"]
                    self._errors[deployment] = await deployment.errors()
                traffic = self._latest[deployment] = window.add(numbers)
                await self._read_http(deployment)
                self._show(deployment, traffic)
                await asyncio.sleep(INTERVAL)
        except DynamoError:
            pass  # it has stopped
        finally:
            del self._tasks[deployment]
            for found in (self._latest, self._routes, self._requests, self._errors):
                found.pop(deployment, None)
            if (access := self._access.pop(deployment, None)) is not None:
                await access.aclose()

    async def _read_http(self, deployment: Deployment) -> None:
        services = deployment.status.services
        serving = {name: (url, services[name].digest) for name, url in deployment.urls.items()}
        if serving != self._routes.get(deployment, (None, {}))[0]:
            found = {name: list(await deployment.routes(name)) for name in serving}
            # No routes: the worker may not have answered in time. The next measurement reads them again.
            self._routes[deployment] = serving if all(found.values()) else None, found
        if (access := self._access.get(deployment)) is not None:
            self._requests.setdefault(deployment, deque(maxlen=REQUESTS)).extend(await access.read())
