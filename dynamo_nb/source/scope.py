"""Python's rules of scope: which of the names in a statement are names of the module.

`symtable` of the standard library has neither string annotations nor lines, nor how a name is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from dynamo_nb.source.names import SOFT, Use

InnerKind = Literal["class", "function", "comprehension"]


@dataclass
class Scope:
    """One scope. declared: by `global`. outer: by `nonlocal`. uses: waiting for the end of the scope."""

    kind: Literal["module"] | InnerKind
    bound: set[str] = field(default_factory=set)
    declared: set[str] = field(default_factory=set)
    outer: set[str] = field(default_factory=set)
    uses: list[Use] = field(default_factory=list)


class Scopes:
    """The scopes that are open at a point of a statement, and the names of the module found so far.

    The uses of a function wait until its scope is left, since a name that its last line binds is local on its first
    line. A module and a class are read in order, as they run.

    uses: of names of the module. weak: names that a function binds through `global`.
    """

    def __init__(self) -> None:
        self._open = [Scope("module")]
        self._uses: dict[tuple[str, bool, str], Use] = {}
        self.weak: set[str] = set()

    @property
    def kind(self) -> str:
        """The kind of the innermost scope."""
        return self._open[-1].kind

    @property
    def in_function(self) -> bool:
        return any(scope.kind == "function" for scope in self._open)

    @property
    def bound(self) -> set[str]:
        """The names that the module binds."""
        return self._open[0].bound

    @property
    def uses(self) -> tuple[Use, ...]:
        return tuple(self._uses.values())

    def enter(self, kind: InnerKind, bound: Iterable[str] = ()) -> None:
        self._open.append(Scope(kind, set(bound)))

    def leave(self) -> None:
        scope = self._open.pop()
        for use in scope.uses:
            if use.name in scope.declared:
                self.use_of_module(use._replace(later=True), bound=False)
            elif use.name not in scope.bound or use.name in scope.outer:
                self._pass_up(use._replace(later=use.later or scope.kind == "function"))

    def _pass_up(self, use: Use) -> None:
        """Moves a free name to the nearest scope that functions can see, which a class is not."""
        scope = next(scope for scope in reversed(self._open) if scope.kind != "class")
        if scope.kind == "module":
            self.use_of_module(use)
        else:
            scope.uses.append(use)

    def use_of_module(self, use: Use, *, bound: bool = True) -> None:
        """Adds a use of a name of the module. bound: whether an earlier binding in this statement satisfies it."""
        if bound and not use.later and use.name in self.bound:
            return
        self._uses.setdefault((use.name, use.later, use.how), use)

    def use(self, name: str, line: int, how: str) -> None:
        use, scope = Use(name, line, later=False, how=how), self._open[-1]
        if scope.kind in ("function", "comprehension"):
            scope.uses.append(use)
        elif scope.kind == "module":
            self.use_of_module(use)
        elif name not in scope.bound:
            self._pass_up(use)

    def bind(self, name: str, line: int) -> None:
        scope = self._open[-1]
        if name in scope.declared:
            self.weak.add(name)
            self.use_of_module(Use(name, line, later=True, how=SOFT), bound=False)
        else:
            scope.bound.add(name)

    def bind_outside_comprehensions(self, name: str, line: int) -> None:
        """Binds the target of `:=`, which belongs to the scope around all comprehensions."""
        inner = []
        while self.kind == "comprehension":
            inner.append(self._open.pop())
        self.bind(name, line)
        self._open += reversed(inner)

    def declare_global(self, names: Iterable[str]) -> None:
        if self.kind != "module":
            self._open[-1].declared.update(names)

    def declare_nonlocal(self, names: Iterable[str]) -> None:
        self._open[-1].outer.update(names)
