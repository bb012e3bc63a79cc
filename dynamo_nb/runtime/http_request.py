"""A request over HTTP: the context of the calls that its handler makes, its measurement, and its early end.

The work for a request ends with its connection, and at its deadline, whatever serves it: an endpoint, or a route of the
user's own application.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from dynamo_nb.errors import (
    DeadlineExceeded,
    DynamoError,
    EndpointError,
    InvalidArgument,
    NoInstances,
    from_wire,
    to_wire,
)
from dynamo_nb.runtime.call_context import CURRENT, REQUEST_ID, TRACE
from dynamo_nb.runtime.call_errors import deadline_exceeded, to_dynamo_error
from dynamo_nb.runtime.http_traffic import AnswerCount, HttpTraffic, RouteMeter
from dynamo_nb.runtime.meters import CALLER_GONE, CANCELLED, Meter
from dynamo_nb.runtime.recorded_errors import ERRORS
from dynamo_nb.runtime.spans import TRACED
from dynamo_nb.runtime.tracing import TRACING, RequestSpans
from dynamo_nb.sdk.trace import SPAN

App = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application."""

_FROM_CLIENTS: Final = {name.encode(): name for name in (REQUEST_ID, *TRACE, TRACED)} | {b"x-request-id": REQUEST_ID}
"""Headers of HTTP requests that calls carry on, with their names there."""
_STATUS: Final[Mapping[type[DynamoError], int]] = {InvalidArgument: 422, NoInstances: 503, DeadlineExceeded: 504}
_ERRORS: Final[Mapping[int, type[DynamoError]]] = {400: InvalidArgument} | {s: kind for kind, s in _STATUS.items()}
_FAILED: Final = 400  # the lowest status of an answer that is an error
_OWN_FAULT: Final = 500  # the lowest status of an error of the service

logger = logging.getLogger(__name__)


def note_exception(error: BaseException) -> None:
    """Notes the exception that caused the answer to the current HTTP request, for the errors of its service.

    Only endpoints that handle the exception and answer themselves need it.

    Args:
        error: The exception.
    """
    if isinstance(request := CURRENT.get(), HttpRequest):
        request.raised = error


def status_of(error: DynamoError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)


def error_content(error: DynamoError) -> dict[str, Any]:
    """The body of an answer that is an error, as data."""
    return {"error": {"type": type(error).__name__, "message": error.what}}


class HttpRequest:
    """One request over HTTP, in the task that answers it.

    Args:
        scope: ASGI's description of the request.
        timeout: Seconds for the complete answer, or None.
        traffic: Counts the requests of each route, or None.

    Attributes:
        headers: Those of the client that calls carry on, by their names there.
        deadline: Time of `time.monotonic` at which the work is cancelled, or None.
        stopped: Reason why the answer is no longer needed, or empty: CALLER_GONE, CANCELLED or the code of an error.
        status: HTTP status of the answer; 0 until it begins.
        complete: True when the whole answer was sent.
        error: The error that the answer reports, if it is known.
        raised: The exception of the endpoint. The answer may report only a status.
        repeated: True if the error of this request is not logged now, because it was logged before.
    """

    def __init__(
        self, scope: Mapping[str, Any], timeout: float | None = None, traffic: HttpTraffic | None = None
    ) -> None:
        names = _FROM_CLIENTS
        self.headers: dict[str, str] = {
            names[name]: text.decode("latin-1") for name, text in scope["headers"] if name in names
        }
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.complete = False
        self.error: DynamoError | None = None
        self._scope, self._traffic = scope, traffic
        self._answer = AnswerCount()
        self._route: RouteMeter | None = None
        self._counted = False
        self.raised: BaseException | None = None
        self.repeated = False
        self._recorded = False
        self._where = f"{scope['method']} {scope['path']}"
        self._timeout = timeout
        self._task = asyncio.current_task()
        self._spans: RequestSpans | None = None
        self._carried: dict[str, str] | None = None

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def stopped(self) -> str:
        return self._answer.stopped

    @property
    def request_id(self) -> str:
        if REQUEST_ID not in self.headers:
            self.headers[REQUEST_ID] = secrets.token_hex(8)
        return self.headers[REQUEST_ID]

    @property
    def carried(self) -> Mapping[str, str]:
        """The headers that calls made for this request carry."""
        if self._carried is None:
            self._carried = {**self.headers, REQUEST_ID: self.request_id}
            if self._spans is not None and self._spans.span is not None:
                self._carried[TRACED] = self._spans.span.header
        return self._carried

    @property
    def _own_route(self) -> str:
        """The path in recorded errors of a route that is not an endpoint."""
        return self._traffic.path_of(self._scope) if self._traffic is not None else f"//{self._where}"

    def stop(self, reason: str) -> None:
        """Cancels the work for an answer that is not complete yet."""
        if not self.stopped and not self.complete and self._task is not None:
            self._answer.stopped = reason
            self._task.cancel()

    async def answer(self, app: App, scope: Any, receive: Any, send: Any) -> bool:
        """Lets an application answer.

        Returns:
            False if the answer is neither complete nor can be completed: its connection has to be closed.
        """
        CURRENT.set(self)
        SPAN.set(None)
        if TRACED in self.headers and self._traffic is not None:
            self._spans = TRACING.arrived(self._traffic.path_of(self._scope), self.headers, self._answer.begun)
        timer = None
        if self._timeout is not None:
            timer = asyncio.get_running_loop().call_later(self._timeout, self.stop, DeadlineExceeded.code)

        async def sending(message: Any) -> None:
            self._note(message)
            await send(message)

        try:
            await app(scope, receive, sending)
        except BaseException as error:
            if not self.stopped:
                self._answer.status = self.status or 500  # the server sends it
                self._record(self._own_route, to_dynamo_error(error, app), error)
                raise
            if not isinstance(error, asyncio.CancelledError):
                logger.debug("a cancelled request raised", exc_info=True)
        finally:
            if timer is not None:
                timer.cancel()
            if not self.stopped:
                self._count()
        if not self.stopped:
            self._record(self._own_route, self._failure(self._where), None)  # unless `measure` did
            return True
        assert self._task is not None
        while self._task.cancelling():
            self._task.uncancel()
        try:
            if self.stopped != CALLER_GONE and not self.status:
                await self._refuse(send)
        finally:
            self._count()
        return self.complete

    def _note(self, message: Mapping[str, Any]) -> None:
        answer = self._answer
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            self._begin_count()
        elif message["type"] == "http.response.body":
            size = len(message.get("body", b""))
            answer.size += size
            if not message.get("more_body"):
                self.complete = True
                self._count()  # background tasks of the answer follow
            elif size:
                answer.items += 1
                if answer.items == 1 and self._route is not None:
                    self._route.first_item(answer.begun)

    def _begin_count(self) -> None:
        if self._traffic is not None and self._route is None and not self._counted:
            self._route = self._traffic.begun(self._scope)

    def _count(self) -> None:
        """Counts the end of the answer, once."""
        if self._traffic is None or self._counted:
            return
        self._begin_count()
        assert self._route is not None
        self._counted = True
        failure = self._failure(self._where)
        self._traffic.ended(self._scope, self._route, self._answer, failure)
        span = self._spans.span if self._spans is not None else None
        if span is not None and span.end is None:  # not of an endpoint: `measure` ends it
            span.items, span.bytes_out = self._answer.items, self._answer.size
            span.finish(None if self.stopped else failure, self.stopped)

    async def _refuse(self, send: Any) -> None:
        error: DynamoError = NoInstances("the worker is stopping", where=self._where, remedy="try again")
        if self.stopped == DeadlineExceeded.code:
            error = DeadlineExceeded(f"{self._where} was not answered within {self._timeout:g} s", where=self._where)
        body = json.dumps(error_content(error)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        for message in (
            {"type": "http.response.start", "status": status_of(error), "headers": headers},
            {"type": "http.response.body", "body": body},
        ):
            self._note(message)
            await send(message)

    async def measure(self, path: str, meter: Meter, app: App, scope: Any, receive: Any, send: Any) -> None:
        """Lets an endpoint answer, and counts and traces the request like one of another service.

        Args:
            path: `namespace/component/endpoint`.
            meter: Counts the requests of the endpoint.
            app: The endpoint as an ASGI application.
            scope: See `answer`.
            receive: See `answer`.
            send: See `answer`.
        """
        start, items, ended = meter.begin(), 0, False
        spans, failure = None, None
        if TRACING.tracer is not None or TRACED in self.headers:
            headers = TRACING.below_current(self.headers)
            spans = self._spans = TRACING.serve(path, headers, self.request_id, start, self._spans)
            meter = spans.meter(meter)

        def end(error: DynamoError | None, raised: BaseException | None = None) -> None:
            nonlocal ended, failure
            if not ended:
                ended, failure = True, error
                self._record(path, error, raised)
                if spans is not None and not self.stopped:
                    spans.answered(error)
                if self.stopped in {CALLER_GONE, CANCELLED}:
                    meter.stop(self.stopped)
                else:
                    meter.end(start, self.stopped or (error.code if error is not None else ""))

        async def receiving() -> Any:
            message = await receive()
            meter.bytes_in += len(message.get("body", b""))
            return message

        async def sending(message: Any) -> None:
            nonlocal items
            if message["type"] == "http.response.body":
                size, more = len(message.get("body", b"")), message.get("more_body", False)
                meter.bytes_out += size
                if size and more:
                    items += 1
                    meter.items += 1
                    if items == 1:
                        meter.first_item(start)
                elif not more:
                    end(self._failure(path))  # background tasks of the answer follow
            await send(message)

        try:
            await app(scope, receiving, sending)
        except BaseException as error:
            end(to_dynamo_error(error, app), error)
            raise
        finally:
            end(self._failure(path))
            if spans is not None:
                spans.end(failure, self.stopped)

    def _record(self, path: str, error: DynamoError | None, raised: BaseException | None) -> None:
        """Records the error of this request once, unless it is an error of the client."""
        if self._recorded or self.stopped in {CALLER_GONE, CANCELLED}:
            return
        if self.stopped:
            error = deadline_exceeded(path)
        elif raised is None and self.error is not None:
            raised = self.error
        elif raised is None and _FAILED <= self.status < _OWN_FAULT:
            return
        elif raised is None and self.raised is not None:  # also after the start of a stream
            error, raised = to_dynamo_error(self.raised, self.measure), self.raised
        elif raised is None and error is not None:  # the endpoint returned an answer with an error status
            error = EndpointError(error.what, kind=f"HTTP {self.status}")
        if error is not None:
            self._recorded = True
            self.repeated = ERRORS.record(path, from_wire(to_wire(error)), raised)

    def _failure(self, path: str) -> DynamoError | None:
        """The error that the answer reports."""
        if self.error is not None or self.status < _FAILED:
            return self.error
        return _ERRORS.get(self.status, EndpointError)(f"the answer has the status {self.status}", where=path)
