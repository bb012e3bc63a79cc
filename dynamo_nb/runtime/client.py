"""A client of one endpoint: chooses an instance, sends the request, and takes what comes back.

A request that was refused, or whose worker went away before anything was answered, is given to another instance.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from dynamo_nb.errors import DynamoError, NoInstances, ProtocolError, RequestError
from dynamo_nb.runtime.connection import Grant, Inbox, Refused
from dynamo_nb.runtime.discovery import Instance, Watch
from dynamo_nb.runtime.metadata import CURRENT, TIMEOUT, earlier
from dynamo_nb.runtime.meters import CANCELLED, Meter
from dynamo_nb.runtime.routing import Affinity, Policy, Random, RoundRobin
from dynamo_nb.runtime.server import no_such_endpoint, too_late
from dynamo_nb.runtime.tracing import TRACING
from dynamo_nb.sdk.call import PLAIN, Call, CallOptions, portal

if TYPE_CHECKING:
    from dynamo_nb.runtime.distributed import DistributedRuntime

T = TypeVar("T")

PATIENCE: Final = 3.0  # seconds that a call waits for an instance: a worker that is started again takes about one
MAX_TRIES: Final = 3  # instances that may get one request: one that kills its worker must not go round them all


class Client:
    """A client of one endpoint. It may live as long as its runtime; calls share the connections of the process."""

    def __init__(self, runtime: DistributedRuntime, watch: Watch, endpoint: str, policy: Policy | None = None) -> None:
        self.runtime, self.endpoint = runtime, endpoint
        self.policy = policy or RoundRobin()
        self.path = f"{watch.namespace}/{watch.component}/{endpoint}"
        self.meter = runtime.meters[self.path]
        self._watch = watch
        self._turns = self.policy if isinstance(self.policy, RoundRobin) else RoundRobin()
        self._random, self._affinity = Random(), policy if policy is not None else Affinity()
        self._version = -1
        self._instances: tuple[Instance, ...] = ()

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The instances that serve this endpoint now, in order of registration."""
        if self._version != self._watch.version:
            self._version = self._watch.version
            self._instances = tuple(i for i in self._watch.instances if self.endpoint in i.endpoints)
        return self._instances

    def instance_ids(self) -> list[int]:
        return [instance.instance_id for instance in self.instances]

    async def wait_for_instances(self, timeout: float | None = None, count: int = 1) -> list[int]:
        """Waits until `count` instances serve this endpoint. Raises NoInstances after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._watch.until(lambda: len(self.instances) >= count)
        except TimeoutError:
            raise self._none(f"{len(self.instances)} of {count} instances came within {timeout} s: ") from None
        return self.instance_ids()

    async def wait_for_change(self) -> list[int]:
        """Waits until an instance of this component comes, goes or changes."""
        await self._watch.changed()
        return self.instance_ids()

    def call(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        instance_id: int | None = None,
        headers: Mapping[str, str] | None = None,
        policy: Policy | None = None,
        timeout: float | None = None,
        key: str | None = None,
        receive: Callable[[Any], Any] | None = None,
    ) -> RemoteCall[Any]:
        """A call with these arguments, begun when it is awaited or iterated.

        See `Call.using` for the options. receive: makes the answer, or each item of a stream, what the caller gets.
        """
        plain = instance_id is None and headers is None and policy is None and timeout is None and key is None
        options = PLAIN if plain else CallOptions(timeout, key, instance_id, headers, policy)
        return RemoteCall(self, args, kwargs or {}, options, receive)

    def policy_of(self, options: CallOptions) -> Policy:
        """What chooses the instance of a call with these options."""
        return options.policy or (self._affinity if options.key is not None else self.policy)

    async def generate(self, request: Any) -> Stream:
        """Sends the request to the instance that this client's policy picks."""
        return await Stream(self.call([request])).begin()

    async def round_robin(self, request: Any) -> Stream:
        """Sends the request to the next instance."""
        return await Stream(self.call([request], policy=self._turns)).begin()

    async def random(self, request: Any) -> Stream:
        """Sends the request to any instance."""
        return await Stream(self.call([request], policy=self._random)).begin()

    async def direct(self, request: Any, instance_id: int) -> Stream:
        """Sends the request to this instance. Raises NoInstances when it is not there."""
        return await Stream(self.call([request], instance_id=instance_id)).begin()

    def pick(self, request: Exchange, policy: Policy, instance_id: int | None, failed: Sequence[Instance]) -> Instance:
        """The instance for the next attempt. Raises NoInstances or NoSuchEndpoint."""
        instances: Sequence[Instance] = self.instances
        if failed:
            ids = [instance.instance_id for instance in failed]
            instances = [instance for instance in instances if instance.instance_id not in ids]
        if instance_id is not None:
            for instance in instances:
                if instance.instance_id == instance_id:
                    return instance
            raise self._none(f"instance {instance_id} is not there: ")
        if instances:
            breaker = self.runtime.connections.breaker
            if breaker.failures:
                instances = breaker.admitted(instances)
            return policy.pick(instances, request)
        known = {endpoint for instance in self._watch.instances for endpoint in instance.endpoints}
        if known and self.endpoint not in known:
            raise no_such_endpoint(self.path, known)
        raise self._none()

    async def another(self, deadline: float) -> bool:
        """Waits for the instances to change; False at the deadline, in the loop's time."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._watch.changed()
        except TimeoutError:
            return False
        return True

    def _none(self, why: str = "") -> NoInstances:
        address = f"dynamo://{self.path}"
        return NoInstances(
            f"{why}no worker serves {address}",
            where=address,
            remedy=f"check with `dynamo ps` that {self._watch.component} has workers and is ready, and that it is in "
            f"the namespace {self._watch.namespace!r} on the same NATS server ({self.runtime.nats_address})",
        )

    async def on_portal(self) -> Client:
        """The same client on the portal's loop, for callers that cannot await and may be blocking this one's loop."""
        runtime = await self.runtime.on_portal()
        if runtime is self.runtime:
            return self
        watch = await runtime.directory.watch(self._watch.namespace, self._watch.component)
        return Client(runtime, watch, self.endpoint, self.policy)


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
        self._span: Any = None
        self._deadline: float | None = None
        self.headers: Mapping[str, str] = {}
        self._policy = client.policy
        options = call.options
        if options is not PLAIN:
            self.headers, self._policy = options.headers or {}, client.policy_of(options)
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
            async with asyncio.timeout(deadline - time.monotonic()):
                inbox = await self._open()
        except TimeoutError:
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
                    self._failed += (instance,)
                    continue
            if connection.paused:
                await connection.writable()
            self._sent += 1
            if self._deadline is not None:
                headers = {**self.headers, TIMEOUT: f"{self._deadline - time.monotonic():.6f}"}
            return connection.open(client.path, call.args, call.kwargs, headers, meter, self._begun)

    def _begin(self) -> Meter:
        meter = self._meter = self._client.meter
        self._begun = meter.begin()
        if TRACING.tracer is not None:
            self._span, self.headers = TRACING.call(self.path, self.headers)
        return meter

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
            meter.end(self._begun, getattr(error, "code", DynamoError.code))
        else:
            stopped = CANCELLED
            meter.stop(stopped)
        if self._span is not None:
            TRACING.end(self._span, error, stopped)

    def again(self, inbox: Inbox) -> bool:
        """Whether a request that ended so may be given to another instance."""
        if not inbox.retry or self._call.options.instance_id is not None or self._instance is None:
            return False
        turned_away = isinstance(inbox.error, NoInstances)
        if self._client.endpoint in self._instance.once and not turned_away:
            return False
        self._failed += (self._instance,)
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


class RemoteCall(Call[T], Generic[T]):
    """A call of an endpoint in a worker. See `Call` for its three forms; nothing is sent before one is used."""

    def __init__(
        self,
        client: Client,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: CallOptions = PLAIN,
        receive: Callable[[Any], Any] | None = None,
    ) -> None:
        self._client, self.args, self.kwargs, self.options, self.receive = client, args, kwargs, options, receive

    def _at_home(self) -> bool:
        """Whether the running loop may do this itself: it is the runtime's, or the portal's, which has a runtime too.

        The portal never waits for the runtime's loop: that may be blocked by the very cell that asked the portal.
        """
        running = asyncio.get_running_loop()
        return running is self._client.runtime.loop or running is portal._loop

    def __await__(self) -> Generator[Any, None, T]:
        answer = Exchange(self._client, self).answer()
        if self._at_home():
            return answer.__await__()
        distant = asyncio.run_coroutine_threadsafe(answer, self._client.runtime.loop)
        return cast("Generator[Any, None, T]", asyncio.wrap_future(distant).__await__())

    def __aiter__(self) -> Items:
        items = Items(Exchange(self._client, self))
        return items if self._at_home() else DistantItems(items, self._client.runtime.loop)


class Items(AsyncIterator[Any]):
    """The items of one call, as they arrive. The worker is told to stop when this is closed, or dropped."""

    __slots__ = ("_exchange", "_inbox")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._inbox: Inbox | None = None

    async def begin(self) -> None:
        try:
            self._inbox = await self._exchange.open()
        except BaseException as error:
            self._exchange.end(error)
            raise

    async def __anext__(self) -> Any:
        inbox = self._inbox
        try:
            while True:
                if inbox is None:
                    inbox = self._inbox = await self._exchange.open()
                if inbox.items:
                    item = inbox.items.popleft()
                    if item.__class__ is Grant:
                        inbox.allow(item)
                        continue
                    receive = self._exchange.receive
                    return item if receive is None else receive(item)
                if not inbox.done:
                    await inbox.wait()
                elif (error := inbox.error) is None:
                    raise StopAsyncIteration
                elif self._exchange.again(inbox):
                    inbox = None
                else:
                    raise error
        except BaseException as error:
            if inbox is not None:
                inbox.close()
            self._exchange.end(error)
            raise

    async def aclose(self) -> None:
        """Stops the work at the worker."""
        self._close()

    def _close(self) -> None:
        if self._inbox is not None:
            self._inbox.close()
        self._exchange.end(GeneratorExit())

    def __del__(self) -> None:
        self._close()


class DistantItems(Items):
    """The items of a call whose connection lives on another event loop."""

    __slots__ = ("_home", "_items")

    def __init__(self, items: Items, home: asyncio.AbstractEventLoop) -> None:
        super().__init__(items._exchange)
        self._items, self._home = items, home

    async def __anext__(self) -> Any:
        async def following() -> tuple[Any, ...]:
            # StopAsyncIteration does not pass through a future.
            try:
                return (await self._items.__anext__(),)
            except StopAsyncIteration:
                return ()

        item = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(following(), self._home))
        if not item:
            raise StopAsyncIteration
        return item[0]

    async def begin(self) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._items.begin(), self._home))

    async def aclose(self) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._items.aclose(), self._home))


class Item:
    """One item of a stream, in upstream's shape."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def data(self) -> Any:
        return self._value

    def __repr__(self) -> str:
        return f"Item({self._value!r})"


class Stream(AsyncIterator[Item]):
    """The answer of `generate` and its like: `async for item in stream: item.data()`."""

    def __init__(self, call: RemoteCall[Any]) -> None:
        self._items = call.__aiter__()

    async def begin(self) -> Stream:
        await self._items.begin()
        return self

    async def __anext__(self) -> Item:
        return Item(await self._items.__anext__())

    async def aclose(self) -> None:
        await self._items.aclose()
