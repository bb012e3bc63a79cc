"""Effects: the objects that a statement changes without binding a name.

The rule, for code that runs at the top level of a cell:

- A decorator changes the object that it comes from (`@app.get("/")`), and the arguments of its call.
- A call of a function, class, lambda or method of the notebook changes what its body changes: its arguments, its
  object, the mutable default of a parameter, and global names. A function that is handed over (`map(put, xs)`) may be
  called.
- `setattr`, `delattr` and `next` change their first argument. `file=` and `out=` are changed.
- A method of a container that is handed over (`map(xs.append, new)`) changes the container. `with manager:` changes the
  manager.
- A call that is a statement of its own changes the object of the method (`app.add_middleware(M)`), and the variables
  that it hands to an imported function (`instrument(app)`).
- Names of one object (`router = app.router`, `pair = (xs, ys)`, `known.get("a", xs)`) change together. So do a class
  with shared values and its objects. A class that is defined runs `__init_subclass__` of its bases, `__init__` of its
  metaclass and `__set_name__` of its attributes. A call on an imported module may change the state of the process
  (`random.seed(7)`).
- Environment variables that a deployment sets in its workers (`CUDA_VISIBLE_DEVICES`) stay as it sets them.
- Calls that by their name only use an object do not count (`print`, `frame.describe()`), nor do calls of display
  libraries, of services (`Frontend.link(Backend)`), and calls that are awaited. Where the name is a weak sign
  (`engine.run()`), the call is listed as left out.
- A method whose name says neither is taken as a change, and listed as unclear. Such a call on an imported module is
  left out, and listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dynamo_nb.source.interface import Aliases
from dynamo_nb.source.names import PLAIN, Use
from dynamo_nb.source.objects import Objects
from dynamo_nb.source.running_parts import sets_own_variable
from dynamo_nb.source.statement_effects import StatementEffects
from dynamo_nb.source.statements import Unit


@dataclass
class Effects:
    """The units with their effects: names that a unit changes are among the names that it binds.

    state: units that change the state of the process, each with the imported package. unclear: units whose call may be
    a change or only a use, each with the names. left_out: calls that workers do not run, each with the names: awaited
    calls, which no module can have, and calls that by their name are meant for the notebook alone.
    """

    units: list[Unit] = field(default_factory=list)
    state: list[tuple[Unit, str]] = field(default_factory=list)
    unclear: list[tuple[Unit, frozenset[str]]] = field(default_factory=list)
    left_out: list[tuple[Unit, frozenset[str]]] = field(default_factory=list)


def with_effects(units: Sequence[Unit], known: Aliases) -> Effects:
    """Finds the effects of statements, in order of execution."""
    objects, result = Objects(units, known), Effects()
    for ran in units:
        unit = ran
        found = StatementEffects(objects, unit)
        if not unit.statement.imports:
            found.read()
        if sets_own_variable(unit.statement.node):
            unit = _without_modules(unit, {n for n in unit.names.changes if objects.kind(n, unit) == "import"})
            found.changed = {name for name in found.changed if objects.kind(name, unit) != "import"}
        together = objects.with_aliases(found.changed | unit.names.changes)
        changed = frozenset(n for n in together if n in objects and objects.kind(n, unit) != "service")
        left_out = frozenset(name for name in found.left_out - changed if name in objects)
        new = unit
        if unit.names.await_line:
            left_out |= changed
        else:
            new = _changing(unit, changed)
            if unclear := frozenset(found.unclear) & changed:
                result.unclear.append((new, unclear))
            modules = {name for name in changed if objects.kind(name, unit) == "import"}
            result.state += [(new, objects.package(name, unit)) for name in sorted(modules)]
        if left_out:
            result.left_out.append((new, left_out))
        result.units.append(new)
        objects.note_aliases(unit)
    return result


def _changing(unit: Unit, changed: frozenset[str]) -> Unit:
    names, line = unit.names, unit.statement.node.lineno
    new = changed - names.changes
    if not new:
        return unit
    uses = tuple(Use(name, line, later=False, how=PLAIN) for name in sorted(new - names.binds))
    names = names._replace(
        binds=names.binds | new, changes=names.changes | (new - names.binds), uses=(*names.uses, *uses)
    )
    return replace(unit, statement=replace(unit.statement, names=names))


def _without_modules(unit: Unit, modules: set[str]) -> Unit:
    names = unit.names._replace(binds=unit.names.binds - modules, changes=unit.names.changes - modules)
    return replace(unit, statement=replace(unit.statement, names=names)) if modules else unit
