"""The module-level names that one top-level statement binds and uses, as values."""

from __future__ import annotations

from typing import NamedTuple

PLAIN, ANNOTATION, BASE, SOFT, BY_NAME = "", "annotation", "base", "soft", "by name"


class Use(NamedTuple):
    """A module-level name that a statement uses.

    later: True in the body of a function: the name is read when the function is called, not when the statement runs.
    how: PLAIN; ANNOTATION; BASE (the base of a class); SOFT (used only if it exists); ".attribute", which is read from
    it; "callee(", of which it is the first argument; or BY_NAME (the text of `depends("Service")`).
    """

    name: str
    line: int
    later: bool
    how: str


class Names(NamedTuple):
    """The names that a statement binds and uses.

    binds: the names that it binds. weak: the names that its functions bind through `global`. changes: the bound names
    that keep their object (`d["a"] = 1`). appends: the names whose container it changes by a method (`xs.append(1)`).
    await_line: the line of an `await` outside any function, else 0. unknown_line: the line of a call that may bind any
    name, such as `exec(code)`, else 0.
    """

    binds: frozenset[str]
    weak: frozenset[str]
    changes: frozenset[str]
    appends: frozenset[str]
    uses: tuple[Use, ...]
    await_line: int
    unknown_line: int = 0
