"""Changes of baselines, as data. A run collects them; a person or an option approves them; then they are applied."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

Category = Literal["create", "fix", "update", "trim"]
CATEGORIES: Final[dict[Category, str]] = {
    "create": "a value without a baseline",
    "fix": "a value that differs from its baseline, so its expectation fails",
    "update": "a value that its baseline accepts, such as a number within the tolerance, but does not equal",
    "trim": "a baseline that no expectation asked for",
}


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which runs a baseline is for.

    Attributes:
        parameters: The parameters of the notebook that the run set, by name.
        machine: Class of the machine, as `machine_class` returns it; "" if the value is the same on every machine.
    """

    parameters: dict[str, Any] = {}
    machine: str = ""

    def __str__(self) -> str:
        parts = [f"{name}={value}" for name, value in self.parameters.items()]
        return ", ".join([*parts, *([self.machine] if self.machine else [])])


class Change(msgspec.Struct, frozen=True):
    """One change of a baseline file.

    Attributes:
        category: See CATEGORIES.
        name: Name of the value.
        key: The runs that it is for.
        before: The value in the file; None for `create`.
        after: The new value; None for `trim`.
        cell: The cell whose expectation asks for it; "" for `trim`.
    """

    category: Category
    name: str
    key: Key
    before: Any = None
    after: Any = None
    cell: str = ""
