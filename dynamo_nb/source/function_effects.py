"""The changes that functions and classes of a notebook make when they are called."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dynamo_nb.source.effect_verbs import CHANGED_BY_BUILTIN, CONTAINER_METHODS, changes_receiver
from dynamo_nb.source.running_parts import roots_of, running_parts
from dynamo_nb.source.statements import Unit

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_NAMED: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_FUNCTIONS: Final = (*_NAMED, ast.Lambda)
_MAKING: Final = frozenset({"__init__", "__new__", "__post_init__", "__call__", "__enter__", "__exit__"})
"""Methods that run where an object is made and used at once: as a decorator, or in a `with`."""
_PROPERTIES: Final = frozenset({"property", "cached_property"})
_SUBCLASSING: Final = frozenset({"__init_subclass__"})
_METACLASS: Final = frozenset({"__init__", "__new__", "__prepare__"})


@dataclass(frozen=True)
class Changes:
    """The changes that a call of a function makes.

    names: global names. parameters: all of them, in order. changed: those whose object it changes. rest, named: the
    names of `*args` and `**kwargs`. keeps: True if it changes the object of a default, which the next call sees.
    """

    names: frozenset[str] = frozenset()
    parameters: tuple[str, ...] = ()
    changed: frozenset[str] = frozenset()
    rest: str = ""
    named: str = ""
    keeps: bool = False

    @property
    def first(self) -> bool:
        """True if it changes its first argument: the object of a method."""
        return bool(self.parameters) and self.parameters[0] in self.changed

    def given(self, call: ast.Call, *, bound: bool = False) -> Iterator[ast.expr]:
        """The arguments of a call that it changes. bound: the first parameter is the object of the method."""
        parameters = self.parameters[1:] if bound else self.parameters
        for number, one in enumerate(call.args):
            name = parameters[number] if number < len(parameters) else self.rest
            if name in self.changed or (isinstance(one, ast.Starred) and self.changed):
                yield one
        for keyword in call.keywords:
            name = keyword.arg if keyword.arg in self.parameters else self.named
            if name in self.changed or (keyword.arg is None and self.changed):
                yield keyword.value


class FunctionEffects:
    """Summaries of functions and classes, each read once.

    Args:
        classes: The class statements of the notebook.
        definition: The statement that made the object of a name, as a unit sees it; None if none did.
    """

    def __init__(self, classes: Sequence[ast.ClassDef], definition: Callable[[str, Unit], ast.stmt | None]) -> None:
        self._definition = definition
        self._summaries: dict[Function, Changes] = {}
        self._methods: dict[str, list[Function]] = {}
        for cls in classes:
            for method in _methods_of(cls):
                self._methods.setdefault(method.name, []).append(method)

    def of_name(self, name: str, unit: Unit) -> list[Changes]:
        """The changes by a call of a function, a class or a lambda by its name."""
        node = self._definition(name, unit)
        if isinstance(node, _NAMED):
            return [self.of(node, unit)]
        if isinstance(node, ast.ClassDef):
            return [self.of_class(node, unit)]
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        return [self.of(value, unit)] if isinstance(value, ast.Lambda) else []

    def of_class(self, node: ast.ClassDef, unit: Unit) -> Changes:
        """The changes by a call of a class."""
        found = [self.of(one, unit) for one in _methods_of(node) if one.name in _MAKING]
        names = frozenset[str]().union(*(one.names for one in found))
        if any(one.first for one in found) and shares_values(node):
            names |= {node.name}
        init = next((one for one in found if len(one.parameters) > 1), Changes())
        changed = frozenset[str]().union(*(one.changed for one in found))
        return Changes(names, init.parameters[1:], changed, init.rest, init.named)

    def of_method(self, verb: str, cls: ast.ClassDef | None, unit: Unit) -> list[Changes] | None:
        """The changes by a method; None if no class of the notebook has it. cls: the class of its object, if known."""
        if cls is not None:
            found = self._inherited(verb, cls, unit)
            return [self.of(found, unit)] if found else None
        methods = self._methods.get(verb)
        return [self.of(one, unit) for one in methods] if methods else None

    def _inherited(self, verb: str, cls: ast.ClassDef, unit: Unit, depth: int = 0) -> Function | None:
        own = next((one for one in _methods_of(cls) if one.name == verb), None)
        if own is not None or depth > len(self._methods):
            return own
        bases = (self._definition(name, unit) for base in cls.bases for name in roots_of(base))
        found = (self._inherited(verb, base, unit, depth + 1) for base in bases if isinstance(base, ast.ClassDef))
        return next((one for one in found if one is not None), None)

    def of(self, node: Function, unit: Unit) -> Changes:
        """The changes by a call of a function."""
        if node not in self._summaries:
            self._summaries[node] = Changes()  # for a function that calls itself
            self._summaries[node] = self._read(node, unit)
        return self._summaries[node]

    def _read(self, node: Function, unit: Unit) -> Changes:
        arguments = node.args
        parameters = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
        static = any(getattr(one, "id", "") == "staticmethod" for one in getattr(node, "decorator_list", ()))
        changed: set[str] = set()
        for part in ast.walk(node):
            match part:
                case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                    changed |= roots_of(part)
                case ast.Attribute() if is_container_method(part):
                    changed |= roots_of(part.value)
                case ast.AugAssign(target=ast.Name(id=name)):
                    changed.add(name)
                case ast.Call():
                    changed |= self._by_call(part, parameters, unit)
        changed = _through_aliases(node, changed)
        local = {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}
        stored = {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)}
        declared = {name for one in ast.walk(node) if isinstance(one, ast.Global) for name in one.names}
        names = frozenset(changed - local - (stored - declared)) | (stored & declared)
        defaults = dict(zip(reversed(parameters), reversed(arguments.defaults), strict=False))
        defaults |= {
            one.arg: value for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value
        }
        return Changes(
            names,
            ("", *parameters) if static else (*parameters, *(one.arg for one in arguments.kwonlyargs)),
            frozenset(changed & local),
            arguments.vararg.arg if arguments.vararg else "",
            arguments.kwarg.arg if arguments.kwarg else "",
            any(name in changed and not isinstance(value, ast.Constant | ast.Name) for name, value in defaults.items()),
        )

    def _by_call(self, call: ast.Call, parameters: Sequence[str], unit: Unit) -> set[str]:
        match call.func:
            case ast.Attribute(attr=verb, value=ast.Call(func=ast.Name(id="super"))):
                known = self.of_method(verb, None, unit) or []
                return set(parameters[:1]) if any(one.first for one in known) else set()
            case ast.Attribute(attr=verb, value=value):
                known = self.of_method(verb, None, unit) or []
                changes = verb in CONTAINER_METHODS or changes_receiver(verb) or any(one.first for one in known)
                return (roots_of(value) if changes else set()) | self.by_changes(known, call, bound=True)
            case ast.Name(id=called) if called in CHANGED_BY_BUILTIN:
                return roots_of(call.args[0]) if call.args else set()
            case ast.Name(id=called):
                return self.by_changes(self.of_name(called, unit), call)
            case ast.Lambda() as function:
                return self.by_changes([self.of(function, unit)], call)
        return set()

    def by_changes(self, known: Sequence[Changes], call: ast.Call, *, bound: bool = False) -> set[str]:
        """The names that a call changes by the summaries of its function."""
        given = (roots_of(one) for changes in known for one in changes.given(call, bound=bound))
        return set[str]().union(*(one.names for one in known), *given)

    def by_definition(self, node: ast.ClassDef, unit: Unit) -> set[str]:
        """The names that the definition of a class changes through its bases, its metaclass and its attributes."""
        metaclasses = [keyword.value for keyword in node.keywords if keyword.arg == "metaclass"]
        changed = self.by_bases(node.bases, metaclasses, unit)
        for part in (part for one in node.body for part in running_parts(one)):
            if isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
                attribute = self._definition(part.func.id, unit)
                if isinstance(attribute, ast.ClassDef) and (named := self._inherited("__set_name__", attribute, unit)):
                    changed |= self.of(named, unit).names
        return changed

    def by_bases(self, bases: Sequence[ast.expr], metaclasses: Sequence[ast.expr], unit: Unit) -> set[str]:
        """The names that a new class with these bases and metaclasses changes."""
        changed: set[str] = set()
        pending = [(name, one in metaclasses) for one in (*bases, *metaclasses) for name in roots_of(one)]
        seen: set[str] = set()
        while pending:
            name, is_meta = pending.pop()
            base = self._definition(name, unit)
            if name in seen or not isinstance(base, ast.ClassDef):
                continue
            seen.add(name)
            pending += [(one, is_meta) for parent in base.bases for one in roots_of(parent)]
            if not is_meta:
                given = [keyword.value for keyword in base.keywords if keyword.arg == "metaclass"]
                pending += [(one, True) for parent in given for one in roots_of(parent)]
            run = _METACLASS if is_meta else _SUBCLASSING
            for found in (self.of(one, unit) for one in _methods_of(base) if one.name in run):
                # `cls.registry` is an attribute of the class that defines it.
                changed |= found.names | ({name} if found.first else set())
        return changed

    def is_generator(self, name: str, unit: Unit) -> bool:
        """True for a function of the notebook that yields."""
        node = self._definition(name, unit)
        return isinstance(node, _NAMED) and any(isinstance(one, ast.Yield | ast.YieldFrom) for one in ast.walk(node))

    def has_changing_operators(self, cls: ast.ClassDef, unit: Unit) -> bool:
        """True for a class with a property or a special method, such as `__getitem__`, that changes its object."""
        for one in _methods_of(cls):
            special = one.name.startswith("__") and one.name not in _MAKING
            if (special or any(getattr(d, "id", "") in _PROPERTIES for d in one.decorator_list)) and self.of(
                one, unit
            ).first:
                return True
        bases = (self._definition(name, unit) for base in cls.bases for name in roots_of(base))
        return any(
            self.has_changing_operators(base, unit)
            for base in bases
            if isinstance(base, ast.ClassDef) and base is not cls
        )

    def makes_state(self, name: str, unit: Unit) -> bool:
        """True if a function returns functions that share a variable of its own, which they change."""
        node = self._definition(name, unit)
        if not isinstance(node, _NAMED):
            return False
        inner = [one for one in ast.walk(node) if isinstance(one, _FUNCTIONS) and one is not node]
        own = {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)}
        own |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
        return any(
            any(isinstance(part, ast.Nonlocal) for part in ast.walk(one)) or self.of(one, unit).names & own
            for one in inner
        )


def is_container_method(node: ast.Attribute) -> bool:
    """True for a method that changes its container, called or not: `xs.append`."""
    return isinstance(node.ctx, ast.Load) and node.attr in CONTAINER_METHODS


def shares_values(cls: ast.ClassDef) -> bool:
    """True if the objects of a class share a value of it that can change, such as a list, or change the class."""
    values = [one.value for one in cls.body if isinstance(one, ast.Assign | ast.AnnAssign)]
    return any(
        isinstance(one, ast.List | ast.Dict | ast.Set | ast.Call | ast.ListComp | ast.DictComp) for one in values
    ) or any(
        (isinstance(part, ast.Attribute) and part.attr == "__class__")
        or (isinstance(part, ast.Call) and getattr(part.func, "id", "") == "type")
        for one in cls.body
        for part in ast.walk(one)
    )


def _methods_of(cls: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (one for one in cls.body if isinstance(one, _NAMED))


def _through_aliases(node: Function, changed: set[str]) -> set[str]:
    """The names with those whose object a variable of the function may be: `for one in items: one.append(1)`."""
    pairs: list[tuple[set[str], set[str]]] = []
    for part in ast.walk(node):
        match part:
            case ast.Assign():
                pairs += [(_names(target), roots_of(part.value)) for target in part.targets]
            case ast.AnnAssign(value=ast.expr() as value) | ast.NamedExpr(value=value):
                pairs.append((_names(part.target), roots_of(value)))
            case ast.For() | ast.AsyncFor() | ast.comprehension():
                pairs.append((_names(part.target), _names(part.iter)))
            case ast.withitem(optional_vars=ast.expr() as target):
                pairs.append((_names(target), _names(part.context_expr)))
    found, before = set(changed), -1
    while len(found) != before:
        before = len(found)
        found |= {name for targets, roots in pairs if targets & found for name in roots}
    return found


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
