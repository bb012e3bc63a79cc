"""Keeps a deployment equal to its source: the cells of the notebook that serves it, with their configuration."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

from dynamo_nb.config.layers import Layer
from dynamo_nb.deployment.held_changes import check_contract, check_unlinked
from dynamo_nb.deployment.plan import Plan
from dynamo_nb.deployment.plan_changes import also_replaced, changed_services, plan_changes
from dynamo_nb.deployment.plan_source import Check, PlanSource
from dynamo_nb.deployment.supervisor_connection import SupervisorConnection, old_version
from dynamo_nb.errors import DynamoError
from dynamo_nb.graph.spec import GraphSpec


class Follower:
    """Applies the plans of a source, one at a time. It lives on the portal's loop.

    Args:
        connection: The deployment.
        source: Source of its plans.

    Attributes:
        also_replaced: Services that the last change replaced although their classes are unchanged, with the reason.
        unserved: Services of the last attempt to follow the cells, if it failed or was interrupted.
    """

    def __init__(self, connection: SupervisorConnection, source: PlanSource) -> None:
        self._connection, self._source = connection, source
        # The last attempt that failed: its spec with the links removed by force, or the error of planning.
        self._refused: tuple[GraphSpec, frozenset[tuple[str, str]]] | str | None = None
        self.unserved: frozenset[str] = frozenset()
        self._changing = asyncio.Lock()
        self.also_replaced: Mapping[str, str] = {}

    async def update(self, layers: Sequence[Layer], check: Check | None = None) -> None:
        """Applies the current plan with more layers. If it succeeds, later plans have the layers too.

        Args:
            layers: More layers of configuration.
            check: Treatment of calls that would fail, see `Check`; None for the `check` of the source.
        """
        async with self._changing:
            source = self._source.with_layers(layers)
            await self._apply(source.plan(), check or source.check)
            self._source = source

    async def switch(self, source: PlanSource, plan: Plan) -> str:
        """Applies the plan of another source, and follows that source from now on. Returns the changes."""
        async with self._changing:
            before = self._connection.plan
            await self._apply(plan, source.check)
            self._source = source
            return plan_changes(before, plan)

    async def follow(self, *, retry: bool) -> bool:
        """Applies the plan as it is now if it has changed. Returns True if it had.

        Args:
            retry: Also apply a change that failed the last time.
        """
        async with self._changing:
            # A deployment owned by another process follows that process's cells. Observers must call `update`.
            if not self._source.follows() or self._connection.status.owner not in {None, os.getpid()}:
                return False
            return await self._apply_changes(retry=retry)

    async def _apply_changes(self, *, retry: bool) -> bool:
        connection = self._connection
        refused, self._refused = self._refused, None
        try:
            plan = self._source.plan()
        except DynamoError as error:
            self._refused = str(error)
            if self._refused == refused and not retry:
                return False
            started = connection.plan.spec.started
            problems = getattr(error, "problems", ())
            self.unserved = frozenset(one.path.partition(".")[0] for one in problems) & started.keys()
            error.add_note(old_version(sorted(self.unserved)))
            raise
        spec = _without_origins(plan.spec)
        if spec == _without_origins(connection.applied or plan.spec):
            if spec == _without_origins(connection.plan.spec):
                connection.plan = plan  # the same services, whose cells have other numbers now
            self.unserved = frozenset()
            return False
        attempt = spec, plan.program.graph.forced
        if attempt == refused and not retry:
            self._refused = refused
            return False
        self._refused = attempt
        try:
            await self._apply(plan, self._source.check)
        except BaseException:
            self.unserved = frozenset(changed_services(connection.plan, plan))
            raise
        self._refused, self.unserved = None, frozenset()
        return True

    async def _apply(self, plan: Plan, check: Check) -> None:
        before = self._connection.plan
        if check == "hold":
            check_contract(before, plan)
            await check_unlinked(before, plan, lambda: self._connection.request("metrics"))
        await self._connection.apply(plan)
        self.also_replaced = also_replaced(before, plan)


def _without_origins(spec: GraphSpec) -> GraphSpec:
    return spec.model_copy(update={"origins": {}})
