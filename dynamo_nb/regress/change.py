"""Changes of baselines, as data. A run collects them, a person or an option approves them, then they are applied."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

Category = Literal["create", "fix", "update", "trim"]
CATEGORIES: Final[dict[Category, str]] = {
    "create": "a value without a baseline",
    "fix": "a value that differs from its baseline, so its expectation fails",
    "update": "a value that is within the tolerance of its baseline, but not equal to it",
    "trim": "a baseline that no expectation used",
}


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """The runs that a baseline is for.

    Attributes:
        parameters: The parameters that the run sets, by name.
        machine: The machine class, see `machine_class`; "" for a value that is equal on all machines.
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
        key: The runs that the baseline is for.
        before: The value in the file; None for `create`.
        after: The new value; None for `trim`.
        cell: The cell of the expectation; "" for `trim`.
    """

    category: Category
    name: str
    key: Key
    before: Any = None
    after: Any = None
    cell: str = ""
