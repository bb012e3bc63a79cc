"""Values whose making is an event: the time, a random number, an answer of a person.

Running such a statement again gives another value. So workers get the value that the kernel has, if it is plain; else
a note says that each worker makes its own. A person's answer may be a secret: it is never written into code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dynamo_nb.source import live_values
from dynamo_nb.source.bindings import Bindings
from dynamo_nb.source.interface import Aliases, is_service
from dynamo_nb.source.names import ANNOTATION, SOFT
from dynamo_nb.source.running_parts import running_parts
from dynamo_nb.source.statements import Unit, parse

_EVENTS = re.compile(
    r"uuid\.uuid[14]|random\.(?!seed|Random)\w+|time\.(?!sleep|strptime|tzset)\w+|tempfile\.\w+|secrets\.\w+"
    r"|datetime\.(\w+\.)?(now|utcnow|today)|os\.(getpid|getppid|urandom|times)|id|hash"
    r"|numpy\.random\.(?!seed|default_rng|RandomState|Generator)\w+|torch\.(rand|randn|randint|randperm)"
)
_WITHOUT_SEED = re.compile(r"(random\.Random|numpy\.random\.(default_rng|RandomState))")
"""Makers of random numbers: an event if they get no seed."""
_ASKS = re.compile(r"input|getpass\.getpass")
_SECRETS = re.compile(r"secrets\.\w+")


@dataclass
class Events:
    """The units with the kernel's values in place of events.

    from_kernel: units whose value is the kernel's. repeated: units that each worker runs with another result. asks:
    units that ask a person, or use the answer in a way that workers cannot.
    """

    units: list[Unit] = field(default_factory=list)
    from_kernel: set[Unit] = field(default_factory=set)
    repeated: set[Unit] = field(default_factory=set)
    asks: set[Unit] = field(default_factory=set)


def with_kernel_values(units: Sequence[Unit], live: Mapping[str, object] | None, known: Aliases) -> Events:
    """Replaces the events among some units. live: the namespace in which the cells ran, if they did."""
    return _Finder(units, live, known).events()


class _Finder:
    def __init__(self, units: Sequence[Unit], live: Mapping[str, object] | None, known: Aliases) -> None:
        self._units, self._live, self._known = units, live, known
        self._bindings = Bindings(units)
        self._functions: dict[Unit, set[str]] = {}

    def events(self) -> Events:
        result = Events()
        changing: set[Unit] = set()  # their values are others in each process
        for unit in self._units:
            called = set() if is_service(unit.statement.node, self._known) else self._called(unit)
            used = self._used(unit)
            is_event = bool(called) or bool(used & changing)
            new = unit
            if any(map(_ASKS.fullmatch, called)) or used & result.asks:
                if _sets_environment(unit.statement.node):
                    new = _without_environment(unit)
                else:
                    result.asks.add(unit)
            elif is_event and self._live is not None and _sets_environment(unit.statement.node):
                new = _without_environment(unit)
            elif is_event and not any(map(_SECRETS.fullmatch, called)) and (text := self._kernel_text(unit)):
                new = _with_text(unit, text)
                result.from_kernel.add(new)
            elif called:
                result.repeated.add(unit)
            if new is unit and is_event and unit.names.binds:
                changing.add(unit)
            result.units.append(new)
        return result

    def _used(self, unit: Unit) -> set[Unit]:
        uses = {use.name for use in unit.names.uses if not use.later and use.how not in (ANNOTATION, SOFT)}
        return {one for name in uses for one in self._bindings.find(name, unit.position, user=unit)}

    def _called(self, unit: Unit) -> set[str]:
        """The events that a statement makes when it runs."""
        if isinstance(unit.statement.node, ast.Expr | ast.Import | ast.ImportFrom) and not unit.names.changes:
            return set()
        return self._events_in(running_parts(unit.statement.node), unit)

    def _events_in(self, parts: object, unit: Unit) -> set[str]:
        found: set[str] = set()
        for part in parts:  # type: ignore[attr-defined]
            if not isinstance(part, ast.Call):
                continue
            name = self._full_name(part.func, unit)
            seeded = bool(part.args or part.keywords)
            if _EVENTS.fullmatch(name) or _ASKS.fullmatch(name) or (_WITHOUT_SEED.fullmatch(name) and not seeded):
                found.add(name)
            elif isinstance(part.func, ast.Name):
                for made_by in self._bindings.find(part.func.id, unit.position, user=unit):
                    found |= self._in_function(made_by)
        return found

    def _in_function(self, unit: Unit) -> set[str]:
        if not isinstance(unit.statement.node, ast.FunctionDef | ast.AsyncFunctionDef):
            return set()
        if unit not in self._functions:
            self._functions[unit] = set()  # for a function that calls itself
            self._functions[unit] = self._events_in(ast.walk(unit.statement.node), unit)
        return self._functions[unit]

    def _full_name(self, node: ast.expr, unit: Unit) -> str:
        """The name of a function with its module; the bare name of a built-in function; else ""."""
        if isinstance(node, ast.Attribute):
            before = self._full_name(node.value, unit)
            return f"{before}.{node.attr}" if "." in before or before in self._modules(node.value, unit) else ""
        if not isinstance(node, ast.Name):
            return ""
        found = self._bindings.find(node.id, unit.position, user=unit)
        if not found:
            return node.id
        made_by = self._bindings.creator(node.id, found[-1]).statement.node
        if isinstance(made_by, ast.ImportFrom):
            return f"{made_by.module}.{made_by.names[0].name}"
        if isinstance(made_by, ast.Import):
            alias = made_by.names[0]
            return alias.name if alias.asname else alias.name.partition(".")[0]
        return ""

    def _modules(self, node: ast.expr, unit: Unit) -> set[str]:
        name = self._full_name(node, unit) if isinstance(node, ast.Name) else ""
        return {name} if name and isinstance(node, ast.Name) and node.id in self._bindings else set()

    def _kernel_text(self, unit: Unit) -> str:
        """An assignment of the values that the kernel has; "" if it has other ones, or they are not plain."""
        names = _assigned(unit.statement.node)
        if not names or self._live is None:
            return ""
        if any(name not in self._live or self._bindings.of(name)[-1] is not unit for name in names):
            return ""
        values = [live_values.literal(self._live[name]) for name in names]
        return f"{', '.join(names)} = {', '.join(map(str, values))}" if None not in values else ""


def _assigned(node: ast.stmt) -> list[str]:
    """The names that a statement assigns, if it does nothing else with its value."""
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    else:
        return []
    parts = [part for one in targets for part in (one.elts if isinstance(one, ast.Tuple | ast.List) else [one])]
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    return names if len(names) == len(parts) else []


def _with_text(unit: Unit, text: str) -> Unit:
    made = parse(text).statements[0]
    old = unit.statement
    return replace(unit, statement=replace(made, line=old.line, end_line=old.end_line))


def _sets_environment(node: ast.stmt) -> bool:
    return any(isinstance(one, ast.Attribute) and one.attr in ("environ", "putenv") for one in ast.walk(node)) and (
        not isinstance(node, ast.Assign) or not all(isinstance(one, ast.Name) for one in node.targets)
    )


def _without_environment(unit: Unit) -> Unit:
    """The unit as one that changes nothing: workers inherit the environment."""
    names = unit.names._replace(binds=unit.names.binds - unit.names.changes, changes=frozenset())
    return replace(unit, statement=replace(unit.statement, names=names))
