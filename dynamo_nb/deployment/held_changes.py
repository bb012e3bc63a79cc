"""Checks that hold back changes after which calls between the services would fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from dynamo_nb.contract import untested_uses
from dynamo_nb.deployment.plan import Plan
from dynamo_nb.errors import ContractError, Problem
from dynamo_nb.observe.traffic import TrafficWindow

MEASURED: Final = 0.5
"""Seconds of counting the calls on a link before its removal."""


def check_contract(before: Plan, after: Plan) -> None:
    """Checks that a change causes no new mismatches between calls and endpoints.

    Args:
        before: The served plan.
        after: The new plan.

    Raises:
        ContractError: Calls would fail.
    """
    known = set(before.mismatches)
    new = [one for one in after.mismatches if one.certain and one not in known]
    if not new:
        return
    callers = " and ".join(dict.fromkeys(one.service for one in new))
    raise ContractError(
        [Problem(one.message, origin=one.origin) for one in new],
        remedy=f"change {callers} too, and run the cell; "
        'to replace it in any case: `await deployment.update(check="warn")`',
    )


async def check_unlinked(before: Plan, after: Plan, metrics: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
    """Checks that a change removes no link with calls, unless the code tests the link.

    Args:
        before: The served plan.
        after: The new plan.
        metrics: Returns the counters of the deployment, see `Deployment.metrics`.

    Raises:
        ContractError: Calls are made on a removed link.
    """
    removed = _removed_links(before, after)
    if not removed:
        return
    window = TrafficWindow()
    window.add(await metrics())
    await asyncio.sleep(MEASURED)
    edges = window.add(await metrics()).edges
    problems = []
    for source, target, (endpoint, origin) in removed:
        load = edges.get((source, target))
        if load is not None and (load.rate > 0 or load.in_flight > 0):
            calls = f"{load.rate:,.0f} times a second" if load.rate >= 1 else "now"
            message = f"{source} calls {target}.{endpoint} {calls}, and would no longer be linked to {target}"
            problems.append(Problem(message, origin=origin))
    if problems:
        source, target, _ = removed[0]
        raise ContractError(
            problems,
            remedy=f"link it again, {source}.link({target}), or test it in {source}; "
            f"to unlink it in any case: {source}.unlink({target}, force=True)",
        )


def _removed_links(before: Plan, after: Plan) -> list[tuple[str, str, tuple[str, str]]]:
    """Source and target of each removed link that code uses without a test, with an endpoint and its origin."""
    found = []
    for source, service in after.spec.started.items():
        earlier = before.spec.started.get(source)
        for attribute, now in service.bindings.items():
            target = earlier.bindings.get(attribute) if earlier is not None else None
            if target is None or now is not None or (source, target) in after.program.graph.forced:
                continue
            if uses := untested_uses(after.code, source, attribute):
                found.append((source, target, next(iter(uses.items()))))
    return found
