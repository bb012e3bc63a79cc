"""Requests over HTTP to the services of a deployment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from dynamo_nb.deployment.supervisor_connection import SupervisorConnection
from dynamo_nb.errors import DeploymentError, NoInstances, suggestion
from dynamo_nb.observe.http_call import HttpCall, http_message
from dynamo_nb.observe.http_target import find_route
from dynamo_nb.runtime.http_client import HttpConnections

if TYPE_CHECKING:
    from dynamo_nb.observe.route import Route


class HttpCalls:
    """Makes requests over HTTP, and reads the routes.

    Args:
        connection: The deployment.
    """

    def __init__(self, connection: SupervisorConnection) -> None:
        self._connection = connection

    def call(self, target: str, payload: Any, headers: Mapping[str, str]) -> HttpCall:
        """Returns a request as a call. The arguments are those of `Deployment.http`."""
        connection = self._connection
        service, target = find_route(target, connection.plan.spec, connection.status.urls)
        return HttpCall(http_message(target, payload, headers), service, lambda: self._url(service))

    def _url(self, service: str) -> str:
        """The current URL of a service."""
        connection = self._connection
        connection.check_process()
        if connection.status.ended:
            raise connection.stopped_error()
        url = connection.status.urls.get(service)
        if url is None:
            raise NoInstances(f"{service} has no worker that answers over HTTP", where=connection.id)
        return url

    @asynccontextmanager
    async def kept(self, calls: Sequence[HttpCall]) -> AsyncIterator[Sequence[HttpCall]]:
        """Yields the calls with shared connections, which stay open until the end of the context.

        Args:
            calls: The calls.
        """
        connections = HttpConnections()
        try:
            yield [call.over(connections) for call in calls]
        finally:
            connections.close()

    async def routes(self, service: str) -> list[Route]:
        """Returns the routes of a service; none if its workers do not answer in time.

        Args:
            service: Name of the service.

        Raises:
            DeploymentError: The service does not answer over HTTP.
        """
        from dynamo_nb.observe.route import routes_of

        urls = self._connection.status.urls
        if service not in urls:
            raise DeploymentError(f"{service} does not answer over HTTP", remedy=suggestion(service, urls))
        described = await self._connection.request("routes", service=service)
        return [] if described is None else routes_of(service, urls[service], described)
