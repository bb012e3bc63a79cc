"""The objects that functions and classes of a notebook change when they are called."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dynamo_nb.source.creators import Creators, Function
from dynamo_nb.source.effect_verbs import CHANGED_BY_BUILTIN, CONTAINER_METHODS, changes_receiver
from dynamo_nb.source.running_parts import roots_of, running_parts
from dynamo_nb.source.statements import Unit

_MADE = frozenset({"__init__", "__new__", "__post_init__", "__call__"})
_METACLASS = frozenset({"__init__", "__new__", "__prepare__"})
_ENTERED = frozenset({"__enter__", "__exit__"})

Changed = tuple[frozenset[str], frozenset[int]]
"""Global names that a call changes, and the positions of the arguments that it changes."""
NOTHING: Changed = (frozenset(), frozenset())


class CalledFunctions:
    """Finds what calls change. All methods see the names as a unit sees them when it runs."""

    def __init__(self, creators: Creators) -> None:
        self._creators = creators
        self._summaries: dict[Function, Changed] = {}

    def by_call(self, name: str, unit: Unit) -> Changed:
        """Returns the changes by a call of a function or class."""
        node = self._creators.node(name, unit)
        if isinstance(node, ast.ClassDef):
            names, positions = _joined(
                [self._without_self(one, unit) for one in self._methods(node, unit) if one.name in _MADE]
            )
            return names, positions - {-1}
        return self._summary(node, unit) if isinstance(node, Function) else NOTHING

    def by_method(self, name: str, method: str, unit: Unit) -> Changed | None:
        """Returns the changes by a method, its object at position -1; None if the class is not of the notebook."""
        found = [one for one in self._methods_of(name, unit) if one.name == method]
        return self._without_self(found[0], unit) if found else None

    def by_with(self, name: str, unit: Unit) -> Changed:
        """Returns the changes by entering and leaving a context manager, which is at position -1."""
        found = [self._without_self(one, unit) for one in self._methods_of(name, unit) if one.name in _ENTERED]
        return _joined(found) if found else (frozenset(), frozenset({-1}))

    def by_definition(self, node: ast.ClassDef, unit: Unit) -> set[str]:
        """The names that the definition of a class changes through its bases, its metaclass and its attributes."""
        changed: set[str] = set()
        for name, base, is_meta in self._bases(node, unit):
            run = _METACLASS if is_meta else {"__init_subclass__"}
            for one in base.body:
                if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name in run:
                    names, positions = self._summary(one, unit)
                    # `cls.registry` is an attribute of the class that defines it.
                    changed |= names | ({name} if 0 in positions else set())
        for statement in node.body:
            for part in running_parts(statement):
                if isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
                    attribute = self._creators.node(part.func.id, unit)
                    if isinstance(attribute, ast.ClassDef):
                        named = [one for one in self._methods(attribute, unit) if one.name == "__set_name__"]
                        changed |= _joined([self._summary(one, unit) for one in named])[0]
        return changed

    def mentioned_by(self, name: str, unit: Unit) -> frozenset[str]:
        """The objects that the body of a function names, of which it may return one."""
        made_by = self._creators.creator(name, unit)
        uses = made_by.names.uses if made_by else ()
        return frozenset(use.name for use in uses if self._creators.kind(use.name, unit) == "object")

    # --- classes

    def _bases(self, node: ast.ClassDef, unit: Unit) -> Iterator[tuple[str, ast.ClassDef, bool]]:
        """The classes of the notebook from which a class is made, each once; True for a metaclass."""
        pending, seen = [(node, False)], set[str]()
        while pending:
            one, is_meta = pending.pop()
            named = [(name, is_meta) for base in one.bases for name in sorted(roots_of(base))]
            if not is_meta:
                named += [
                    (name, True) for k in one.keywords if k.arg == "metaclass" for name in sorted(roots_of(k.value))
                ]
            for name, meta in named:
                base_node = self._creators.node(name, unit)
                if isinstance(base_node, ast.ClassDef) and name not in seen:
                    seen.add(name)
                    pending.append((base_node, meta))
                    yield name, base_node, meta

    def _methods(self, node: ast.ClassDef, unit: Unit) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """The methods of a class and of its bases, its own first."""
        for one in (node, *(base for _, base, is_meta in self._bases(node, unit) if not is_meta)):
            yield from (part for part in one.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))

    def _methods_of(self, name: str, unit: Unit) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """The methods of the object of a name, if its class is a class of the notebook."""
        match self._creators.node(name, unit):
            case (
                ast.Assign(value=ast.Call(func=ast.Name(id=kind)))
                | ast.AnnAssign(value=ast.Call(func=ast.Name(id=kind)))
            ):
                made = self._creators.node(kind, unit)
                if isinstance(made, ast.ClassDef):
                    yield from self._methods(made, unit)

    # --- functions

    def _without_self(self, node: Function, unit: Unit) -> Changed:
        names, positions = self._summary(node, unit)
        return names, frozenset(position - 1 for position in positions)

    def _summary(self, node: Function, unit: Unit) -> Changed:
        if node not in self._summaries:
            self._summaries[node] = NOTHING  # for a function that calls itself
            parameters = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
            changed: set[str] = set()
            for part in ast.walk(node):
                match part:
                    case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                        changed |= roots_of(part)
                    case ast.Attribute(attr=verb, ctx=ast.Load()) if verb in CONTAINER_METHODS:
                        changed |= roots_of(part.value)
                    case ast.Call(func=ast.Attribute(attr=verb) as method) if changes_receiver(verb):
                        changed |= roots_of(method.value)
                    case ast.Call(func=ast.Name(id=called)):
                        changed |= self._by_inner_call(part, called, unit)
                    case ast.AugAssign(target=ast.Name(id=name)):
                        changed.add(name)
            local = {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}
            stored = {
                one.id for one in ast.walk(node) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)
            }
            declared = {name for one in ast.walk(node) if isinstance(one, ast.Global) for name in one.names}
            names = frozenset(changed - local - (stored - declared)) | (stored & declared)
            self._summaries[node] = names, frozenset(n for n, one in enumerate(parameters) if one in changed)
        return self._summaries[node]

    def _by_inner_call(self, call: ast.Call, called: str, unit: Unit) -> set[str]:
        if called in CHANGED_BY_BUILTIN:
            return roots_of(call.args[0]) if call.args else set()
        if self._creators.kind(called, unit) not in ("function", "class"):
            return set()
        names, positions = self.by_call(called, unit)
        return set(names).union(*(roots_of(one) for n, one in enumerate(call.args) if n in positions))


def _joined(found: list[Changed]) -> Changed:
    return frozenset[str]().union(*(names for names, _ in found)), frozenset[int]().union(*(at for _, at in found))
