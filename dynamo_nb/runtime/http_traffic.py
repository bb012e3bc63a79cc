"""Counts of a worker's requests over HTTP: a meter for each route, and the latest requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, Final

from dynamo_nb.runtime.http_routes import HttpRoutes
from dynamo_nb.runtime.meters import CALLER_GONE, CANCELLED, Meter, Reading

if TYPE_CHECKING:
    from dynamo_nb.errors import DynamoError

LATEST: Final = 1024
"""Number of latest requests that a worker keeps for access logs. Each takes some hundred bytes."""
LONGEST_PATH: Final = 200
"""Maximum length of a path in the access log, in characters."""


@dataclass(slots=True)
class AnswerCount:
    """The sent part of one answer.

    Attributes:
        begun: Time of the request's arrival, by `time.perf_counter`.
        status: HTTP status; 0 until the answer begins.
        items: Number of sent parts of a streamed body.
        size: Number of sent bytes of the body.
        stopped: Reason why the answer is no longer needed, or empty.
    """

    begun: float = field(default_factory=perf_counter)
    status: int = 0
    items: int = 0
    size: int = 0
    stopped: str = ""


class RouteMeter(Meter):
    """Counts the requests of one route, from the start of their answers.

    Attributes:
        statuses: Number of answers by status class, such as `2xx`.
    """

    __slots__ = ("statuses",)

    def __init__(self) -> None:
        super().__init__()
        self.statuses: dict[str, int] = {}

    def read(self) -> Reading:
        return {**super().read(), "statuses": self.statuses.copy()}


class HttpTraffic:
    """Counts the requests of an application by route.

    Args:
        routes: The routes of the application.
        component: `namespace/component` of the service.
        endpoints: Names of the routes of endpoints. The meters of the endpoints count their requests too.
    """

    def __init__(self, routes: HttpRoutes, component: str, endpoints: Collection[str] = ()) -> None:
        self.routes, self._component, self._endpoints = routes, component, endpoints
        self._meters: dict[str, RouteMeter] = {}
        self._latest: deque[dict[str, Any]] = deque(maxlen=LATEST)
        self._count = 0

    def path_of(self, scope: Mapping[str, Any]) -> str:
        """Returns the path of a request's span: `namespace/component/METHOD /path`.

        Args:
            scope: ASGI's description of the request.
        """
        return f"{self._component}/{self.routes.name_of(scope['method'], scope['path'])}"

    def begun(self, scope: Mapping[str, Any]) -> RouteMeter:
        """Counts the start of an answer.

        Args:
            scope: ASGI's description of the request.

        Returns:
            The meter of the route.
        """
        name = self.routes.name_of(scope["method"], scope["path"])
        meter = self._meters.get(name)
        if meter is None:
            meter = self._meters[name] = RouteMeter()
        meter.begin()
        return meter

    def ended(
        self, scope: Mapping[str, Any], meter: RouteMeter, answer: AnswerCount, error: DynamoError | None
    ) -> None:
        """Counts the end of an answer, and adds the request to the latest ones.

        Args:
            scope: ASGI's description of the request.
            meter: The meter from `begun`.
            answer: The sent part of the answer.
            error: The error in the answer, or None.
        """
        seconds = perf_counter() - answer.begun
        if answer.status:
            kind = f"{answer.status // 100}xx"
            meter.statuses[kind] = meter.statuses.get(kind, 0) + 1
        meter.items += answer.items
        meter.bytes_out += answer.size
        if answer.stopped in {CALLER_GONE, CANCELLED}:
            meter.stop(answer.stopped)
        else:
            meter.end(answer.begun, answer.stopped or (error.code if error is not None else ""))
        self._count += 1
        query = scope.get("query_string", b"")
        path = scope["path"] + (f"?{query.decode('latin-1')}" if query else "")
        self._latest.append(
            {
                "number": self._count,
                "at": time(),
                "method": scope["method"],
                "path": path if len(path) <= LONGEST_PATH else path[: LONGEST_PATH - 1] + "…",
                "status": answer.status,
                "seconds": seconds,
                "bytes": answer.size,
                "client": (scope.get("client") or [""])[0],
                "stopped": answer.stopped,
            }
        )

    def latest(self, after: int) -> list[dict[str, Any]]:
        """Returns the latest requests, oldest first. Any thread may call it.

        Args:
            after: Only requests with a greater number.
        """
        return [one for one in self._latest.copy() if one["number"] > after]

    def read_own(self) -> dict[str, Reading]:
        """Returns the counts of the routes that are not endpoints. Any thread may call it."""
        own = {f"{route['method']} {route['path']}" for route in self.routes.load()["routes"]} - {*self._endpoints}
        return {name: meter.read() for name, meter in self._meters.copy().items() if name in own}

    def read(self) -> dict[str, Reading]:
        """Returns the counts by route. Any thread may call it."""
        return {name: meter.read() for name, meter in self._meters.copy().items()}
