"""Changes between two plans of a deployment, as one line of text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dynamo_nb.contract import changed_names
from dynamo_nb.deployment.plan import Plan
from dynamo_nb.sdk.service_config import SERVICE_ARGS

_SECRET: Final = re.compile(r"key|token|secret|password|envs\.", re.IGNORECASE)
"""Settings whose texts are not shown: the line is saved with the notebook."""
_LONGEST: Final = 40
"""Characters of a value that are shown."""
_ABSENT: Final = object()


def plan_changes(before: Plan, after: Plan) -> str:
    """Returns the changes from one plan to another.

    Args:
        before: The plan that was served.
        after: The plan that is served now.

    Returns:
        Such as `updated Embedder (dim 32 → 64), stopped Cache`, or `unchanged`.
    """
    old, new = before.spec.started, after.spec.started
    updated = [f"{name} ({', '.join(found)})" for name in new if name in old and (found := [*_of(name, before, after)])]
    parts = [
        *([f"updated {', '.join(updated)}"] if updated else []),
        *(f"started {name}" for name in new if name not in old),
        *(f"stopped {name}" for name in old if name not in new),
    ]
    return ", ".join(parts) or "unchanged"


def also_replaced(before: Plan, after: Plan) -> Mapping[str, str]:
    """Returns the changed services whose own classes are unchanged: only code that they use has changed.

    Args:
        before: The earlier plan.
        after: The served plan.

    Returns:
        The reason by service, such as `it uses Embedder's signature`.
    """
    old, new = before.spec.started, after.spec.started
    reasons = {}
    for name in new:
        if name in old and old[name].digest != new[name].digest:
            changed = changed_names(before.code, after.code, name)
            own = after.code.targets[name].partition(":")[2]
            if changed and own not in changed:
                reasons[name] = f"it uses {_and([_used(one, after) for one in changed])}"
    return reasons


def _used(name: str, plan: Plan) -> str:
    """A name in the code, as a phrase. Of a service, only the signature is used."""
    classes = {target.partition(":")[2]: service for service, target in plan.code.targets.items()}
    return f"{classes[name]}'s signature" if name in classes else name


def _and(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def changed_services(before: Plan, after: Plan) -> list[str]:
    """Returns the served services that another plan changes or stops.

    Args:
        before: The served plan.
        after: The other plan.
    """
    new = after.spec.started
    return [name for name in before.spec.started if name not in new or any(_of(name, before, after))]


def _of(name: str, before: Plan, after: Plan) -> Iterator[str]:
    old, new = _values(before, name), _values(after, name)
    for key in dict.fromkeys([*old, *new]):
        if old.get(key, _ABSENT) != new.get(key, _ABSENT):
            shown = f"{_text(key, old.get(key, _ABSENT))} → {_text(key, new.get(key, _ABSENT))}"
            yield f"{key.removeprefix(f'{SERVICE_ARGS}.')} {shown}"
    first, second = before.spec.services[name], after.spec.services[name]
    for attribute, target in second.bindings.items():
        if (earlier := first.bindings.get(attribute)) != target:
            yield f"{attribute} {earlier or 'not linked'} → {target or 'not linked'}"
    if first.digest != second.digest:
        yield also_replaced(before, after).get(name, "code")


def _values(plan: Plan, service: str) -> dict[str, Any]:
    """The settings of a service, by their paths below it."""
    return {
        path.removeprefix(f"{service}."): value
        for path, value, _ in plan.config.rows()
        if path.startswith(f"{service}.")
    }


def _text(key: str, value: Any) -> str:
    if value is _ABSENT:
        return "not set"
    if isinstance(value, str) and _SECRET.search(key):
        return "…"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
