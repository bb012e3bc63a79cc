"""A client of one endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dynamo_nb.runtime.instance import Instance
from dynamo_nb.runtime.remote_call import RemoteCall
from dynamo_nb.runtime.routing import Policy, Random, RoundRobin
from dynamo_nb.runtime.selection import InstanceSelection
from dynamo_nb.runtime.stream import Stream
from dynamo_nb.sdk.call import NO_OPTIONS, CallOptions


class Client:
    """A client of one endpoint: its instances, and calls of them.

    A client may live as long as its runtime. All clients of a process share their connections.

    Attributes:
        selection: Chooses the instance of each call.
        path: `namespace/component/endpoint`.

    Example:
        One call of an endpoint::

            client = await runtime.endpoint("hello.Backend.generate").client()
            await client.wait_for_instances()
            answer = await client.call(["some text"])
    """

    def __init__(self, selection: InstanceSelection) -> None:
        self.selection, self.path = selection, selection.path
        self._round_robin = selection.policy if isinstance(selection.policy, RoundRobin) else RoundRobin()
        self._random = Random()

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The instances that serve this endpoint now, in order of registration."""
        return self.selection.instances

    def instance_ids(self) -> list[int]:
        """Returns the ids of `instances`."""
        return [instance.instance_id for instance in self.selection.instances]

    async def wait_for_instances(self, timeout: float | None = None, count: int = 1) -> list[int]:
        """Waits until enough instances serve this endpoint.

        Args:
            timeout: Seconds to wait, or None to wait without limit.
            count: Number of instances to wait for.

        Returns:
            The ids of the instances.

        Raises:
            NoInstances: There are fewer instances after `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                await self.selection.watch.until(lambda: len(self.instances) >= count)
        except TimeoutError:
            found = len(self.instances)
            raise self.selection.no_instances(f"{found} of {count} instances after {timeout} s: ") from None
        return self.instance_ids()

    endpoint_ids = instance_ids
    """The name of `instance_ids` in the first releases of the Dynamo SDK."""
    wait_for_endpoints = wait_for_instances
    """The name of `wait_for_instances` in the first releases of the Dynamo SDK."""

    async def wait_for_change(self) -> list[int]:
        """Waits until an instance of this component is added, removed or changed, and returns the ids."""
        await self.selection.watch.changed()
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
        """Creates a call. It starts when it is awaited or iterated.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            instance_id: The only instance that may answer.
            headers: Text sent with the arguments.
            policy: Chooses the instance, instead of the client's policy.
            timeout: Seconds for the whole answer.
            key: Affinity key: calls with the same key go to the same instance.
            receive: Converts the answer, or each item of a stream, for the caller.

        Returns:
            The call. See `Call` for the ways to use it.
        """
        plain = instance_id is None and headers is None and policy is None and timeout is None and key is None
        options = NO_OPTIONS if plain else CallOptions(timeout, key, instance_id, headers, policy)
        return RemoteCall(self.selection, args, kwargs or {}, options, receive)

    __call__ = call

    async def generate(self, request: Any) -> Stream:
        """Sends a request to the instance that the client's policy chooses, in the form of upstream's API.

        Args:
            request: The only argument of the call.

        Returns:
            The items of the answer.
        """
        return await Stream(aiter(self.call([request]))).begin()

    async def round_robin(self, request: Any) -> Stream:
        """Sends a request to the next instance.

        Args:
            request: The only argument of the call.

        Returns:
            The items of the answer.
        """
        return await Stream(aiter(self.call([request], policy=self._round_robin))).begin()

    async def random(self, request: Any) -> Stream:
        """Sends a request to a random instance.

        Args:
            request: The only argument of the call.

        Returns:
            The items of the answer.
        """
        return await Stream(aiter(self.call([request], policy=self._random))).begin()

    async def direct(self, request: Any, instance_id: int) -> Stream:
        """Sends a request to a given instance.

        Args:
            request: The only argument of the call.
            instance_id: The instance.

        Returns:
            The items of the answer.

        Raises:
            NoInstances: The instance does not exist.
        """
        return await Stream(aiter(self.call([request], instance_id=instance_id))).begin()
