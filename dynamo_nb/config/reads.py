"""Which keys of its section a service reads through `ServiceConfig`, as far as its code shows."""

from __future__ import annotations

import ast
import inspect
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from types import FunctionType, ModuleType
from typing import Any

from dynamo_nb.sdk.definition import ServiceDefinition
from dynamo_nb.sdk.service_config import VARIABLE, ServiceConfig, underscored

_PASS_ALL = frozenset({"as_args", "get_parsed_config", "written_section"})
"""Functions that pass a whole section on."""
_TO_VLLM = "parse_vllm_args"
"""The function that passes a whole section on to vLLM, which has no option with the name of a field of ServiceArgs."""
_SECTIONS = frozenset({"ServiceConfig", "config_text", "parsed_config", "VARIABLE"})
"""Names by which code gets at the configuration."""
_LOOK_UP = frozenset({"get", "require", "pop", "setdefault"})
"""Methods that read one key of a section."""
_INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_LIMIT = 200
"""Functions and classes of one service that are read, at most."""


@dataclass(frozen=True)
class KeyReads:
    """The keys that the code of a service reads.

    Attributes:
        texts: The texts in the code. A key among them counts as read.
        section: True if the code reads its section through ServiceConfig.
        whole: True if it may read any key: it passes its section on, or the source of its methods is not available.
        only_vllm: True if it may read any key only because it passes its section on to vLLM.
    """

    texts: frozenset[str]
    section: bool
    whole: bool
    only_vllm: bool


def key_reads(definition: ServiceDefinition) -> KeyReads:
    """Reads the code of a class, of its bases, and of the functions and classes that these name."""
    texts: set[str] = set()
    section = whole = vllm = False
    todo: list[Any] = [kind for kind in definition.cls.__mro__ if kind is not object]
    seen: set[int] = set()
    while todo and len(seen) < _LIMIT:
        item = todo.pop(0)
        if id(item) in seen:
            continue
        seen.add(id(item))
        tree = _tree_of(_source_of(item))
        if tree is None and isinstance(item, type):  # of a cell: only its functions lead to the text
            functions = [value for value in vars(item).values() if isinstance(value, FunctionType)]
            whole = whole or (item in definition.cls.__mro__ and any(_source_of(one) is None for one in functions))
            todo = [*functions, *todo]
            continue
        if tree is None:
            continue
        names = _globals_of(item)
        texts |= {underscored(text) for text in _texts(tree)}
        section = section or VARIABLE in texts or _imports_of_user(tree)
        for name, value in _values(tree, names):
            if name in _SECTIONS or (isinstance(value, type) and issubclass(value, ServiceConfig)):
                section = True
            elif name == _TO_VLLM:
                section = vllm = True
            elif name in _PASS_ALL:
                section = whole = True
            elif isinstance(value, type | FunctionType) and _is_of_user(value):
                todo.append(value)
            elif not isinstance(value, ModuleType) and _is_of_user(type(value)):
                todo.append(type(value))
        whole = whole or (section and _passes_section_on(tree))
    return KeyReads(frozenset(texts), section, whole or vllm, vllm and not whole)


def _source_of(item: Any) -> str | None:
    try:
        return str(vars(item).get("__dynamo_source__") or inspect.getsource(item))
    except (OSError, TypeError):  # built in, or defined at a prompt
        return None


@cache
def _tree_of(source: str | None) -> ast.Module | None:
    if source is None:
        return None
    try:
        return ast.parse(textwrap.dedent(source))
    except SyntaxError:  # a text within it starts at the left margin
        return None


def _globals_of(item: Any) -> dict[str, Any]:
    if isinstance(item, FunctionType):
        return item.__globals__
    functions = (value for value in vars(item).values() if isinstance(value, FunctionType))
    found = next((function.__globals__ for function in functions), None)
    return found if found is not None else vars(sys.modules.get(item.__module__, sys))


def _is_of_user(value: Any) -> bool:
    """True if the code is neither an installed package nor this package."""
    top = (value.__module__ or "").partition(".")[0]
    if top in {"dynamo", "dynamo_nb"}:
        return False
    try:
        file = inspect.getfile(value)
    except (OSError, TypeError):  # of a cell
        return top == "__main__"
    return not _is_installed(file)


def _is_installed(file: str) -> bool:
    return any(file.startswith(folder) for folder in _INSTALLED)


def _imports_of_user(tree: ast.AST) -> bool:
    """True if the code itself imports a module that is not installed, which may not be loaded yet."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            roots = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"dynamo", "dynamo_nb"}
            specs = [find_spec(root) if root else None for root in roots]
            if not all(spec is not None and _is_installed(spec.origin or "") for spec in specs):
                return True
    return False


def _values(tree: ast.AST, names: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every name in the code with its global value, and every attribute with that of its module; None if unknown."""
    for name in _names(tree):
        yield name, names.get(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = names.get(node.value.id)
            if isinstance(module, ModuleType):
                yield node.attr, vars(module).get(node.attr)


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _names(tree: ast.AST) -> Iterator[str]:
    """Every name and attribute in the code, with the names that an import gives another name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name.rpartition(".")[2]


def _passes_section_on(tree: ast.AST) -> bool:
    """True if the code looks up a key that is not a literal in it, or uses a section as a whole.

    `config.get("Backend", {})` is a section. It is used key by key where it is looked up in at once, or where it has a
    name on which every use is a look-up.
    """
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    names: set[str] = set()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and _is_look_up(node)):
            continue
        if not all(isinstance(argument, ast.Constant) for argument in _keys_of(node)):
            return True
        if len(node.args) > 1 and isinstance(node.args[1], ast.Dict):
            parent = parents[node]
            if isinstance(parent, ast.Assign) and all(isinstance(target, ast.Name) for target in parent.targets):
                names |= {target.id for target in parent.targets if isinstance(target, ast.Name)}
            elif not _looks_up(parent, parents, node):
                return True
    return any(
        isinstance(node, ast.Name)
        and node.id in names
        and isinstance(node.ctx, ast.Load)
        and not _looks_up(parents[node], parents, node)
        for node in ast.walk(tree)
    )


def _is_look_up(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute) and node.func.attr in _LOOK_UP and bool(node.args)


def _keys_of(node: ast.Call) -> list[ast.expr]:
    """The arguments of a look-up that name keys. `require` has two: the service and its key."""
    assert isinstance(node.func, ast.Attribute)
    return node.args if node.func.attr == "require" else node.args[:1]


def _looks_up(parent: ast.AST, parents: dict[ast.AST, ast.AST], node: ast.AST) -> bool:
    """True if the parent reads one key of the node: `.get("key")`, `["key"]`, `"key" in`."""
    if isinstance(parent, ast.Attribute):
        call = parents[parent]
        return parent.attr in _LOOK_UP and isinstance(call, ast.Call) and isinstance(call.args[0], ast.Constant)
    if isinstance(parent, ast.Subscript):
        return parent.value is node and isinstance(parent.slice, ast.Constant)
    return isinstance(parent, ast.Compare) and isinstance(parent.left, ast.Constant)
