"""Selection of an instance: which instances serve an endpoint, and which one gets the next attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from dynamo_nb.errors import NoInstances
from dynamo_nb.runtime.call_errors import no_such_endpoint
from dynamo_nb.runtime.client_context import ClientContext
from dynamo_nb.runtime.instance import Instance
from dynamo_nb.runtime.routing import POLICIES, Affinity, Policy, Request, RoundRobin
from dynamo_nb.runtime.watch import Watch
from dynamo_nb.sdk.call import CallOptions, PolicyName
from dynamo_nb.sdk.portal import portal


class InstanceSelection:
    """The instances of one endpoint, and the policies that choose among them.

    Attributes:
        context: The runtime of this process, as clients use it.
        watch: The instances of the component.
        endpoint: Name of the endpoint.
        path: `namespace/component/endpoint`.
        meter: Counts the calls of the endpoint.
        policy: Chooses the instance of a call that has no policy of its own.
        contract: The caller's contract of the endpoint, or None. If instances with an equal contract serve, only they
            are called: during a change of a signature, old callers call old workers, and new callers new workers.
        process: The process that the connections belong to, see `Portal`.
    """

    def __init__(
        self,
        context: ClientContext,
        watch: Watch,
        endpoint: str,
        policy: Policy | None = None,
        contract: Mapping[str, Any] | None = None,
    ) -> None:
        self.context, self.watch, self.endpoint = context, watch, endpoint
        self.path = f"{watch.namespace}/{watch.component}/{endpoint}"
        self.meter = context.meters[self.path]
        self.policy = policy or RoundRobin()
        self.contract = _as_received(contract)
        self._affinity = policy if policy is not None else Affinity()
        self.process = portal.process
        self._named_policies: dict[str, Policy] = {}  # of calls that name one, so that round robin goes on
        self._version = -1
        self._instances: tuple[Instance, ...] = ()

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The instances that serve this endpoint now, in order of registration."""
        if self._version != self.watch.version:
            self._version = self.watch.version
            may_call = self.context.may_call
            serving = tuple(i for i in self.watch.instances if self.endpoint in i.endpoints and may_call(i))
            same = tuple(i for i in serving if i.info.get(self.endpoint) == self.contract)
            self._instances = same or serving
        return self._instances

    def policy_of(self, options: CallOptions) -> Policy:
        """Returns the policy of a call with these options."""
        if isinstance(name := options.policy, str):
            if name not in self._named_policies:
                self._named_policies[name] = POLICIES[cast("PolicyName", name)]()
            return self._named_policies[name]
        return options.policy or (self._affinity if options.key is not None else self.policy)

    def pick(self, request: Request, policy: Policy, instance_id: int | None, failed: Sequence[Instance]) -> Instance:
        """Chooses the instance of the next attempt.

        Args:
            request: The request to route.
            policy: Chooses among the instances.
            instance_id: The only instance that may be chosen, or None.
            failed: Instances that already failed this request.

        Raises:
            NoInstances: No instance is left.
            NoSuchEndpoint: The component has instances, and none serves this endpoint.
        """
        instances: Sequence[Instance] = self.instances
        if failed:
            ids = [instance.instance_id for instance in failed]
            instances = [instance for instance in instances if instance.instance_id not in ids]
        if instance_id is not None:
            for instance in instances:
                if instance.instance_id == instance_id:
                    return instance
            raise self.no_instances(f"instance {instance_id} does not exist: ")
        if instances:
            breaker = self.context.connections.breaker
            if breaker.failures:
                instances = breaker.admitted(instances)
            return policy.pick(instances, request)
        callable_instances = filter(self.context.may_call, self.watch.instances)
        known = {endpoint for instance in callable_instances for endpoint in instance.endpoints}
        if known and self.endpoint not in known:
            raise no_such_endpoint(self.path, known)
        raise self.no_instances()

    async def changed_before(self, deadline: float) -> bool:
        """Waits for the instances to change. Returns False at the deadline, in the loop's time."""
        try:
            async with asyncio.timeout_at(deadline):
                await self.watch.changed()
        except TimeoutError:
            return False
        return True

    def no_instances(self, details: str = "") -> NoInstances:
        """Creates the error for an endpoint without an instance to call."""
        address = f"dynamo://{self.path}"
        return NoInstances(
            f"{details}no worker serves {address}",
            where=address,
            remedy=f"check with `dynamo ps` that {self.watch.component} has ready workers, and that they are in the "
            f"namespace {self.watch.namespace!r} on the same NATS server ({self.context.nats_address})",
        )

    async def on_portal(self) -> InstanceSelection:
        """Returns the same selection on the portal's loop, for callers that block this one's loop."""
        context = await self.context.on_portal()
        if context is self.context:
            return self
        watch = await context.discovery.watch(self.watch.namespace, self.watch.component)
        return InstanceSelection(context, watch, self.endpoint, self.policy, self.contract)


def _as_received(contract: Mapping[str, Any] | None) -> Any:
    """A contract in the form that registrations have: with lists in place of tuples."""
    return None if contract is None else msgspec.json.decode(msgspec.json.encode(contract))
