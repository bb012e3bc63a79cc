"""One request as its caller sees it: an instance is chosen, the request sent, and the answer awaited.

A request that was refused, or whose worker went away before anything was answered, is given to another instance.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from dynamo_nb.errors import ConnectError, DynamoError, NoInstances, ProtocolError, RequestError
from dynamo_nb.runtime.call_context import CURRENT, TIMEOUT, checked, earlier
from dynamo_nb.runtime.call_errors import too_late
from dynamo_nb.runtime.connection import Inbox, Refused
from dynamo_nb.runtime.discovery import Instance
from dynamo_nb.runtime.meters import CANCELLED, Meter
from dynamo_nb.runtime.spans import TRACED
from dynamo_nb.runtime.tracing import TRACING, Traced
from dynamo_nb.sdk.call import PLAIN

if TYPE_CHECKING:
    from dynamo_nb.runtime.client import Client, RemoteCall

PATIENCE: Final = 3.0  # seconds that a call waits for an instance: a worker that is started again takes about one
MAX_TRIES: Final = 3  # instances that may get one request: one that kills its worker must not go round them all


class Exchange:
    """The attempts of one request, until something is answered. A policy sees it as its Request."""

    __slots__ = (
        "_begun",
        "_call",
        "_client",
        "_deadline",
        "_error",
        "_failed",
        "_instance",
        "_meter",
        "_patience",
        "_policy",
        "_sent",
        "_span",
        "headers",
        "receive",
    )

    def __init__(self, client: Client, call: RemoteCall[Any]) -> None:
        self._client, self._call, self.receive = client, call, call.receive
        self._failed: tuple[Instance, ...] = ()
        self._sent = 0
        self._instance: Instance | None = None
        self._error: RequestError | None = None
        self._patience = 0.0
        self._meter: Meter | None = None  # from the first attempt to the end
        self._span: Traced | None = None
        self._deadline: float | None = None
        self.headers: Mapping[str, str] = {}
        self._policy = client.policy
        options = call.options
        if options is not PLAIN:
            self.headers, self._policy = checked(options.headers or {}), client.policy_of(options)
            if options.timeout is not None:
                self._deadline = time.monotonic() + options.timeout
        if (carried := CURRENT.get()) is not None:
            self.headers = {**carried.carried, **self.headers} if self.headers else carried.carried
            self._deadline = earlier(self._deadline, carried.deadline)

    @property
    def path(self) -> str:
        return self._client.path

    @property
    def args(self) -> Sequence[Any]:
        return self._call.args

    @property
    def kwargs(self) -> Mapping[str, Any]:
        return self._call.kwargs

    @property
    def key(self) -> str | None:
        return self._call.options.key

    def in_flight(self, instance: Instance) -> int:
        connection = self._client.runtime.connections.get(instance)
        return connection.in_flight if connection is not None else 0

    def open(self) -> Coroutine[Any, Any, Inbox]:
        """Sends the request to an instance that can be reached. Raises DeadlineExceeded when that takes too long."""
        return self._open() if self._deadline is None else self._open_in_time(self._deadline)

    async def _open_in_time(self, deadline: float) -> Inbox:
        if deadline <= time.monotonic():
            if self._meter is None:
                self._begin()  # it is not sent, and has failed all the same
            raise too_late(self.path)
        try:
            async with asyncio.timeout(deadline - time.monotonic()) as limit:
                inbox = await self._open()
        except TimeoutError:
            if not limit.expired():
                raise  # a policy's own
            raise too_late(self.path) from None
        inbox.end_in(deadline - time.monotonic(), lambda: too_late(self.path))
        return inbox

    async def _open(self) -> Inbox:
        if self._client.runtime.loop is not asyncio.get_running_loop():
            self._client = await self._client.on_portal()
        client, call = self._client, self._call
        meter = self._meter or self._begin()
        headers = self.headers
        connections, chosen = client.runtime.connections, call.options.instance_id
        while True:
            try:
                instance = client.pick(self, self._policy, chosen, self._failed)
            except NoInstances as none:
                if isinstance(self._error, ProtocolError):
                    raise self._error from None  # which waiting does not mend
                # A worker that crashed is being started again, and one that is replaced has its successor.
                self._patience = self._patience or asyncio.get_running_loop().time() + PATIENCE
                if chosen is None and await client.another(self._patience):
                    continue
                # Whoever sent it somewhere learns what became of it, not that nobody is left.
                raise self._error or none from None
            self._instance = instance
            connection = connections.get(instance)
            if connection is None or connection.closed:
                try:
                    connection = await connections.connect(instance)
                except (OSError, TimeoutError) as error:
                    if isinstance(error, Refused) and isinstance(error.error, RequestError):
                        self._error = error.error
                    client.runtime.directory.doubt(instance)
                    self._give_up(instance, error.error.code if isinstance(error, Refused) else ConnectError.code)
                    continue
            if connection.paused:
                await connection.writable()
            self._sent += 1
            if self._span is not None:
                self._span.tried(instance.worker_id)
            if self._deadline is not None:
                headers = {**self.headers, TIMEOUT: f"{self._deadline - time.monotonic():.6f}"}
            return connection.open(client.path, call.args, call.kwargs, headers, meter, self._begun)

    def _begin(self) -> Meter:
        meter = self._meter = self._client.meter
        self._begun = meter.begin()
        if TRACING.tracer is not None or TRACED in self.headers:
            self._span, self.headers = TRACING.call(self.path, self.headers, self._begun)
            meter = self._meter = self._span.meter(meter)
        return meter

    def _give_up(self, instance: Instance, why: str) -> None:
        """The request is not given to this instance again. why: the code of an error."""
        self._failed += (instance,)
        if self._span is not None:
            self._span.failed(instance.worker_id, why)

    def end(self, error: BaseException | None = None) -> None:
        """The request has ended, in this way: StopAsyncIteration is the end of a stream. Only the first one counts."""
        meter, self._meter = self._meter, None
        if meter is None:
            return
        stopped = ""
        if isinstance(error, StopAsyncIteration):
            error = None
        if error is None:
            meter.end(self._begun)
        elif isinstance(error, Exception):
            meter.end(self._begun, error.code if isinstance(error, DynamoError) else DynamoError.code)
        else:
            stopped = CANCELLED
            meter.stop(stopped)
        if self._span is not None:
            self._span.end(error, stopped)

    def again(self, inbox: Inbox) -> bool:
        """Whether a request that ended so may be given to another instance."""
        if not inbox.retry or self._call.options.instance_id is not None or self._instance is None:
            return False
        turned_away = isinstance(inbox.error, NoInstances)
        if self._client.endpoint in self._instance.once and not turned_away:
            return False
        self._give_up(self._instance, inbox.error.code if inbox.error is not None else "")
        if turned_away:
            self._sent -= 1  # by one that drains: it has done no harm
        elif isinstance(inbox.error, RequestError):
            self._error = inbox.error
        return self._sent < MAX_TRIES

    async def answer(self) -> Any:
        try:
            while True:
                inbox = await self.open()
                try:
                    answer = await inbox.answer()
                    break
                except RequestError:
                    if not self.again(inbox):
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
