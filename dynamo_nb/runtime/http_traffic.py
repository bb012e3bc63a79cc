"""Counts of the requests of a worker over HTTP: a meter for each route, and the latest requests."""

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
"""Requests of one worker that an access log can show, some hundred bytes each."""
LONGEST_PATH: Final = 200
"""Characters of a path in the access log."""


@dataclass(slots=True)
class AnswerCount:
    """The parts of one answer that were sent.

    Attributes:
        begun: Time of `time.perf_counter` at which the request arrived.
        status: HTTP status; 0 until the answer begins.
        items: Parts of the body of a streamed answer.
        size: Bytes of the body.
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
        statuses: Number of answers by class of their status, such as `2xx`.
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
        endpoints: Names of the routes of endpoints, which have meters of their own.
    """

    def __init__(self, routes: HttpRoutes, component: str, endpoints: Collection[str] = ()) -> None:
        self.routes, self._component, self._endpoints = routes, component, endpoints
        self._meters: dict[str, RouteMeter] = {}
        self._latest: deque[dict[str, Any]] = deque(maxlen=LATEST)
        self._count = 0

    def path_of(self, scope: Mapping[str, Any]) -> str:
        """Returns `namespace/component/METHOD /path` of the route of a request, as the path of a span."""
        return f"{self._component}/{self.routes.name_of(scope['method'], scope['path'])}"

    def begun(self, scope: Mapping[str, Any]) -> RouteMeter:
        """Counts the start of an answer. Returns the meter of the route."""
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
            meter: What `begun` returned.
            answer: What was sent.
            error: The error that the answer reports, or None.
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
        """Returns the latest requests whose number is greater than `after`, oldest first. Safe from any thread."""
        return [one for one in self._latest.copy() if one["number"] > after]

    def read_own(self) -> dict[str, Reading]:
        """Returns the counts of the user's own routes, without those of endpoints. Safe from any thread."""
        own = {f"{route['method']} {route['path']}" for route in self.routes.load()["routes"]} - {*self._endpoints}
        return {name: meter.read() for name, meter in self._meters.copy().items() if name in own}

    def read(self) -> dict[str, Reading]:
        """Returns the counts by route. Safe from any thread."""
        return {name: meter.read() for name, meter in self._meters.copy().items()}
