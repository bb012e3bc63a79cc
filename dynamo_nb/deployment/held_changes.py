"""Changes that are held back, because calls between the services would fail after them."""

from __future__ import annotations

from dynamo_nb.deployment.plan import Plan
from dynamo_nb.errors import ContractError, Problem


def check_contract(before: Plan, after: Plan) -> None:
    """Raises ContractError if calls that the plan before does not have would fail after a change.

    Args:
        before: The plan that is served.
        after: The plan that would be served.
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
