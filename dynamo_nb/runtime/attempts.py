"""The attempts of one request: an instance is chosen, the request is sent, and the answer is awaited.

A request that was refused, or whose worker ended before it answered anything, is sent to another instance.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from dynamo_nb.errors import ConnectError, DynamoError, NoInstances, ProtocolError, RequestError
from dynamo_nb.runtime.call_context import CURRENT, TIMEOUT, checked_headers, earlier
from dynamo_nb.runtime.call_errors import deadline_exceeded
from dynamo_nb.runtime.connection import HandshakeError
from dynamo_nb.runtime.inbox import Inbox
from dynamo_nb.runtime.instance import Instance
from dynamo_nb.runtime.meters import CANCELLED, Meter
from dynamo_nb.runtime.selection import InstanceSelection
from dynamo_nb.runtime.spans import TRACED
from dynamo_nb.runtime.tracing import TRACING, RequestSpans
from dynamo_nb.sdk.call import NO_OPTIONS, CallOptions
from dynamo_nb.sdk.tagged import Outgoing

INSTANCE_WAIT: Final = 3.0  # seconds that a call waits for an instance: a restarted worker needs about one
MAX_ATTEMPTS: Final = 3  # instances that may get one request: a request that kills its worker must not reach them all


class Attempts:
    """The attempts of one request, until something is answered. A policy sees it as its Request.

    Args:
        selection: Chooses the instance of each attempt.
        args: Positional arguments of the call.
        kwargs: Keyword arguments of the call.
        options: Options of the call.
        receive: Converts the answer, or each item of a stream, for the caller; None keeps it as received.
    """

    __slots__ = (
        "_args",
        "_count",
        "_deadline",
        "_error",
        "_failed",
        "_instance",
        "_kwargs",
        "_meter",
        "_options",
        "_policy",
        "_selection",
        "_spans",
        "_start",
        "_wait_until",
        "headers",
        "receive",
    )

    def __init__(
        self,
        selection: InstanceSelection,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: CallOptions,
        receive: Callable[[Any], Any] | None,
    ) -> None:
        self._selection, self._options = selection, options
        self._args, self._kwargs, self.receive = args, kwargs, receive
        self._failed: tuple[Instance, ...] = ()
        self._count = 0
        self._instance: Instance | None = None
        self._error: RequestError | None = None
        self._wait_until = 0.0
        self._meter: Meter | None = None  # from the first attempt to the end
        self._spans: RequestSpans | None = None
        self._deadline: float | None = None
        self.headers: Mapping[str, str] = {}
        self._policy = selection.policy
        if options is not NO_OPTIONS:
            self.headers, self._policy = checked_headers(options.headers or {}), selection.policy_of(options)
            if options.timeout is not None:
                self._deadline = time.monotonic() + options.timeout
        if (context := CURRENT.get()) is not None:
            self.headers = {**context.carried, **self.headers} if self.headers else context.carried
            self._deadline = earlier(self._deadline, context.deadline)

    @property
    def args(self) -> Sequence[Any]:
        return [arg.value if type(arg) is Outgoing else arg for arg in self._args]

    @property
    def kwargs(self) -> Mapping[str, Any]:
        return {name: arg.value if type(arg) is Outgoing else arg for name, arg in self._kwargs.items()}

    @property
    def path(self) -> str:
        return self._selection.path

    @property
    def key(self) -> str | None:
        return self._options.key

    def in_flight(self, instance: Instance) -> int:
        connection = self._selection.context.connections.get(instance)
        return connection.in_flight if connection is not None else 0

    def open(self) -> Coroutine[Any, Any, Inbox]:
        """Sends the request to an instance that can be reached. Raises DeadlineExceeded if that takes too long."""
        return self._open() if self._deadline is None else self._open_before(self._deadline)

    async def _open_before(self, deadline: float) -> Inbox:
        if deadline <= time.monotonic():
            if self._meter is None:
                self._begin()  # a request that was not sent counts as failed too
            raise deadline_exceeded(self.path)
        try:
            async with asyncio.timeout(deadline - time.monotonic()) as limit:
                inbox = await self._open()
        except TimeoutError:
            if not limit.expired():
                raise  # raised by a policy
            raise deadline_exceeded(self.path) from None
        inbox.end_in(deadline - time.monotonic(), lambda: deadline_exceeded(self.path))
        return inbox

    async def _open(self) -> Inbox:
        if self._selection.context.loop is not asyncio.get_running_loop():
            self._selection = await self._selection.on_portal()
        selection = self._selection
        meter = self._meter or self._begin()
        headers = self.headers
        connections, instance_id = selection.context.connections, self._options.instance_id
        while True:
            try:
                instance = selection.pick(self, self._policy, instance_id, self._failed)
            except NoInstances as none:
                if isinstance(self._error, ProtocolError):
                    raise self._error from None  # waiting does not help
                # A worker that crashed is being restarted, or one that was replaced has a successor.
                self._wait_until = self._wait_until or asyncio.get_running_loop().time() + INSTANCE_WAIT
                if instance_id is None and await selection.changed_before(self._wait_until):
                    continue
                # The error of an attempt says more than that no instance is left.
                raise self._error or none from None
            self._instance = instance
            connection = connections.get(instance)
            if connection is None or connection.closed:
                try:
                    connection = await connections.connect(instance)
                except (OSError, TimeoutError) as error:
                    if isinstance(error, HandshakeError) and isinstance(error.error, RequestError):
                        self._error = error.error
                    selection.context.discovery.suspect(instance)
                    code = error.error.code if isinstance(error, HandshakeError) else ConnectError.code
                    self._exclude(instance, code)
                    continue
            if connection.paused:
                await connection.writable()
            self._count += 1
            if self._spans is not None:
                self._spans.attempt(instance.worker_id)
            if self._deadline is not None:
                headers = {**self.headers, TIMEOUT: f"{self._deadline - time.monotonic():.6f}"}
            return connection.open(selection.path, self._args, self._kwargs, headers, meter, self._start)

    def _begin(self) -> Meter:
        meter = self._meter = self._selection.meter
        self._start = meter.begin()
        if TRACING.tracer is not None or TRACED in self.headers:
            self._spans, self.headers = TRACING.call(self.path, self.headers, self._start)
            meter = self._meter = self._spans.meter(meter)
        return meter

    def _exclude(self, instance: Instance, code: str) -> None:
        """Excludes an instance from further attempts, because of the error with this code."""
        self._failed += (instance,)
        if self._spans is not None:
            self._spans.attempt_failed(instance.worker_id, code)

    def end(self, error: BaseException | None = None) -> None:
        """Notes how the request ended; only the first call counts. StopAsyncIteration is the end of a stream."""
        meter, self._meter = self._meter, None
        if meter is None:
            return
        stopped = ""
        if isinstance(error, StopAsyncIteration):
            error = None
        if error is None:
            meter.end(self._start)
        elif isinstance(error, Exception):
            meter.end(self._start, error.code if isinstance(error, DynamoError) else DynamoError.code)
        else:
            stopped = CANCELLED
            meter.stop(stopped)
        if self._spans is not None:
            self._spans.end(error, stopped)

    def may_retry(self, inbox: Inbox) -> bool:
        """Decides whether a request that ended with an error is sent to another instance."""
        if not inbox.retry or self._options.instance_id is not None or self._instance is None:
            return False
        rejected = isinstance(inbox.error, NoInstances)
        if self._selection.endpoint in self._instance.once and not rejected:
            return False
        self._exclude(self._instance, inbox.error.code if inbox.error is not None else "")
        if rejected:
            self._count -= 1  # by a worker that drains: the request has harmed nothing
        elif isinstance(inbox.error, RequestError):
            self._error = inbox.error
        return self._count < MAX_ATTEMPTS

    async def answer(self) -> Any:
        """Returns the answer, or the list of a stream's items."""
        try:
            while True:
                inbox = await self.open()
                try:
                    answer = await inbox.answer()
                    break
                except RequestError:
                    if not self.may_retry(inbox):
                        raise
                finally:
                    inbox.close()
            if (receive := self.receive) is not None:
                answer = receive(answer) if inbox.single else [receive(item) for item in answer]
        except BaseException as error:
            self.end(error)
            raise
        self.end()
        return answer
