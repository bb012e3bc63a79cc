"""A client of one endpoint, and the calls that it makes; `exchange` has what becomes of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from dynamo_nb.errors import NoInstances
from dynamo_nb.runtime.attempts import Exchange
from dynamo_nb.runtime.call_errors import no_such_endpoint
from dynamo_nb.runtime.discovery import Instance, Watch
from dynamo_nb.runtime.routing import POLICIES, Affinity, Policy, Random, RoundRobin
from dynamo_nb.runtime.stream import DistantItems, Items, Stream
from dynamo_nb.sdk.call import PLAIN, Call, CallOptions, PolicyName
from dynamo_nb.sdk.portal import portal

if TYPE_CHECKING:
    from dynamo_nb.runtime.runtime import DistributedRuntime

T = TypeVar("T")


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
        self._by_name: dict[str, Policy] = {}
        self._version = -1
        self._instances: tuple[Instance, ...] = ()

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The instances that serve this endpoint now, in order of registration."""
        if self._version != self._watch.version:
            self._version = self._watch.version
            uses = self.runtime.uses
            self._instances = tuple(i for i in self._watch.instances if self.endpoint in i.endpoints and uses(i))
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

    __call__ = call

    def policy_of(self, options: CallOptions) -> Policy:
        """What chooses the instance of a call with these options."""
        if isinstance(name := options.policy, str):
            if name not in self._by_name:  # kept, so that calls take turns
                self._by_name[name] = POLICIES[cast("PolicyName", name)]()
            return self._by_name[name]
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
        known = {
            endpoint for instance in filter(self.runtime.uses, self._watch.instances) for endpoint in instance.endpoints
        }
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

    def __iter__(self) -> Iterator[Any]:
        """Raises TypeError on the loop that the client belongs to: in a worker, every other request would wait."""
        if asyncio._get_running_loop() is self._client.runtime.loop:
            raise TypeError("here a call is iterated with `async for`: a plain `for` would block the event loop")
        return super().__iter__()

    def __aiter__(self) -> Items:
        items = Items(Exchange(self._client, self))
        return items if self._at_home() else DistantItems(items, self._client.runtime.loop)
