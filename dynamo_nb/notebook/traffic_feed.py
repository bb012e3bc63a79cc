"""Measurements for the graphs that a user is looking at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.errors import DynamoError
from dynamo_nb.observe.traffic import Traffic, TrafficWindow

INTERVAL: Final = 0.5
"""Seconds between two measurements."""


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

    def latest(self, deployment: Deployment) -> Traffic:
        """Returns the latest traffic of a deployment; empty if it is not watched."""
        return self._latest.get(deployment) or Traffic()

    def update(self) -> None:
        """Starts to measure the watched deployments. The measurement of a deployment ends by itself."""
        for deployment in self._watched():
            if deployment not in self._tasks:
                self._tasks[deployment] = asyncio.create_task(self._measure(deployment))

    async def _measure(self, deployment: Deployment) -> None:
        window = TrafficWindow()
        try:
            while deployment in self._watched():
                traffic = self._latest[deployment] = window.add(await deployment.metrics())
                self._show(deployment, traffic)
                await asyncio.sleep(INTERVAL)
        except DynamoError:
            pass  # it has stopped
        finally:
            del self._tasks[deployment]
            self._latest.pop(deployment, None)
