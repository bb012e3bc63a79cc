"""The structure of `dynamo_nb`, checked against the table of floors in docs/architecture.md.

All imports count: at the top of a module, inside functions, and under TYPE_CHECKING.
"""

import ast
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
MOST_LINES = 400
REASON = "Length:"
"""A longer module has a line in its docstring that starts with this and gives the reason."""


@dataclass
class Module:
    """One Python file. imports: the modules of the package that it imports, each with the imported name or ""."""

    name: str
    path: Path
    tree: ast.Module
    imports: list[tuple[str, str]] = field(default_factory=list)

    @property
    def room(self):
        return self.name.split(".")[1] if "." in self.name else ""


class Package:
    """The modules of a package and what they import from it."""

    def __init__(self, folder, floors):
        self.name, self.floors = folder.name, floors
        self.modules = {}
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self.modules[name] = Module(name, path, ast.parse(path.read_text()))
        # `from dynamo_nb import serve` is an import of the module that defines `serve`.
        self.exports = {bound: module for module, bound in self.imports(self.modules[self.name])}
        for module in self.modules.values():
            module.imports = list(self.imports(module))

    def imports(self, module):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.partition(".")[0] == self.name:
                        yield alias.name, ""
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{module.name} has a relative import; write the whole name"
                if (node.module or "").partition(".")[0] != self.name:
                    continue
                for alias in node.names:
                    if f"{node.module}.{alias.name}" in self.modules:
                        yield f"{node.module}.{alias.name}", ""
                    elif node.module == self.name and module.name != self.name:
                        yield self.exports.get(alias.name, self.name), alias.name
                    else:
                        yield node.module, alias.name

    def floor(self, name):
        """The floor of a module; the package itself, which re-exports from every room, is above all of them."""
        return len(self.floors) if name == self.name else self.floors[self.modules[name].room]

    def room_modules(self):
        """All modules but the package's own `__init__`, which stands above the floors."""
        return [module for name, module in self.modules.items() if name != self.name]


def floors_of(text):
    """The table of floors: room -> floor."""
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.MULTILINE)
    return {room: int(floor) for floor, room in rows}


def upward_imports(package):
    for module in package.room_modules():
        for target, _ in module.imports:
            if package.floor(target) > package.floor(module.name):
                yield f"{module.name} imports {target}"


def circles(package):
    """Groups of modules that import each other (Tarjan's strongly connected components)."""
    graph = {module.name: sorted({target for target, _ in module.imports}) for module in package.room_modules()}
    index, lowest, stack, groups = {}, {}, [], []

    def visit(name):
        index[name] = lowest[name] = len(index)
        stack.append(name)
        for target in graph.get(name, ()):
            if target not in index:
                visit(target)
            if target in stack:
                lowest[name] = min(lowest[name], lowest[target])
        if lowest[name] == index[name]:
            at = stack.index(name)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1 or name in graph.get(name, ()):
                groups.append(group)

    for name in graph:
        if name not in index:
            visit(name)
    for group in groups:
        yield "circle: " + ", ".join(sorted(group))


def private_names(package):
    """Private names of another room: imported, or read from an object by a name that only another room defines."""
    owners = defaultdict(set)
    for module in package.room_modules():
        for name in private_definitions(module.tree):
            owners[name].add(module.room)
    for module in package.room_modules():
        for target, name in module.imports:
            private = [part for part in (*target.split("."), name) if is_private(part)]
            if private and package.modules[target].room != module.room:
                yield f"{module.name} imports {private[0]} of {target}"
        libraries = set(imported_libraries(module.tree, package.name))
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr) and root_name(node) not in libraries:
                known = owners.get(node.attr)
                if known and module.room not in known:
                    rooms = ", ".join(sorted(known))
                    yield f"{module.name}, line {node.lineno}: {node.attr} belongs to {rooms}"


def is_private(name):
    return name.startswith("_") and not name.endswith("__")


def root_name(node):
    """The name that an expression such as `a.b().c` begins with."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def imported_libraries(tree, package):
    """The names that a module imports from outside the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                origin = node.module if isinstance(node, ast.ImportFrom) else alias.name
                if (origin or "").partition(".")[0] != package:
                    yield alias.asname or alias.name.partition(".")[0]


def imported_packages(tree):
    """The top-level packages that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def private_definitions(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            name = node.attr
        else:
            continue
        if is_private(name):
            yield name


def long_modules(package):
    for module in package.modules.values():
        lines = len(module.path.read_text().splitlines())
        reasons = [line for line in (ast.get_docstring(module.tree) or "").splitlines() if line.startswith(REASON)]
        if lines > MOST_LINES and not reasons:
            yield f"{module.name} has {lines} lines: split it, or say why not after {REASON!r}"


CHECKS = {"up": upward_imports, "circle": circles, "private": private_names, "length": long_modules}


@pytest.fixture(scope="module")
def package():
    floors = floors_of((REPOSITORY / "docs" / "architecture.md").read_text())
    return Package(REPOSITORY / "dynamo_nb", floors)


def test_the_table_of_floors_names_every_room(package):
    assert set(package.floors) == {module.room for module in package.room_modules()}
    assert list(package.floors.values()) == sorted(package.floors.values())


def test_only_init_and_errors_stand_outside_the_rooms(package):
    assert {path.name for path in (REPOSITORY / "dynamo_nb").glob("*.py")} == {"__init__.py", "errors.py"}


def test_the_package_imports_no_extension(package):
    folders = (folder for folder in (REPOSITORY / "extensions").glob("*/*") if folder.is_dir())
    extensions = {folder.name for folder in folders}
    assert "dynamo" in extensions
    for module in package.modules.values():
        found = set(imported_packages(module.tree)) & extensions
        assert not found, f"{module.name} imports {found}"


@pytest.mark.parametrize("check", CHECKS)
def test_the_rooms_pass_the_check(package, check):
    faults = sorted(set(CHECKS[check](package)))
    assert not faults, "\n".join(faults)


FLOORS = {"low": 0, "middle": 1, "high": 2}


def toy(folder, **files):
    """A package of the given files, named by room and module: `low_a` is low/a.py."""
    for room in FLOORS:
        (folder / "toy" / room).mkdir(parents=True)
    (folder / "toy" / "__init__.py").write_text(files.pop("init", ""))
    for name, text in files.items():
        room, _, module = name.partition("_")
        (folder / "toy" / room / f"{module}.py").write_text(text)
    return Package(folder / "toy", FLOORS)


@pytest.mark.parametrize(
    "text",
    [
        "import toy.high.a",
        "from toy.high import a",
        "from toy.high.a import A",
        "from toy import A",
        "def later():\n    from toy.high.a import A",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from toy.high.a import A",
    ],
)
def test_an_import_of_a_higher_floor_is_found(tmp_path, text):
    package = toy(tmp_path, init="from toy.high.a import A", high_a="class A: ...", low_b=text)
    assert list(upward_imports(package)) == ["toy.low.b imports toy.high.a"]


def test_an_import_of_the_whole_package_is_found(tmp_path):
    package = toy(tmp_path, low_a="def later():\n    import toy")
    assert list(upward_imports(package)) == ["toy.low.a imports toy"]


def test_an_import_of_a_lower_floor_is_allowed(tmp_path):
    package = toy(tmp_path, low_a="class A: ...", high_b="from toy.low.a import A", middle_c="import toy.low.a")
    assert not list(upward_imports(package))
    assert not list(circles(package))


def test_a_circle_of_files_is_found(tmp_path):
    package = toy(
        tmp_path, low_a="import toy.low.b", low_b="def later(): import toy.low.c", low_c="import toy.low.a", low_d=""
    )
    assert list(circles(package)) == ["circle: toy.low.a, toy.low.b, toy.low.c"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from toy.low.a import _hidden", ["toy.high.b imports _hidden of toy.low.a"]),
        ("from toy.low import a\na._hidden()", ["toy.high.b, line 2: _hidden belongs to low"]),
        ("def use(thing):\n    return thing._state", ["toy.high.b, line 2: _state belongs to low"]),
        ("import os\nos._hidden()", []),
        ("class B:\n    def __init__(self):\n        self._state = 1\n        self.__dict__", []),
    ],
)
def test_a_private_name_of_another_room_is_found(tmp_path, text, found):
    defined = "def _hidden(): ...\nclass A:\n    def __init__(self):\n        self._state = 0"
    package = toy(tmp_path, low_a=defined, high_b=text)
    assert list(private_names(package)) == found


def test_a_long_module_needs_a_reason(tmp_path):
    long = "x = 1\n" * (MOST_LINES + 1)
    package = toy(tmp_path, low_a=long, low_b=f'"""One table.\n\n{REASON} it is one table.\n"""\n{long}')
    assert list(long_modules(package)) == [
        f"toy.low.a has {MOST_LINES + 1} lines: split it, or say why not after 'Length:'"
    ]
