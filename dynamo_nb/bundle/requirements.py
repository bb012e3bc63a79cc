"""What is to be installed where a bundle runs: the libraries of its code, and of the ready services that it uses."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module, metadata

from dynamo_nb.source import CodeTree

_DISTRIBUTION = "dynamo-nb"
_OURS = re.compile(r"dynamo_nb(\.|$)|dynamo\.sdk(\.|$)")
_READY = "dynamo_nb.llm"
"""Services that come with dynamo-nb, whose libraries it does not require."""
_NAME = re.compile(r"[\w.-]+")


def requirements(code: CodeTree) -> str:
    """What the code imports and dynamo_nb itself, pinned to the versions that are installed here.

    What a ready service imports and is not installed here, such as vLLM on a laptop, is as dynamo-nb's extras have it.
    """
    own = {module.name.partition(".")[0] for module in code.modules}
    named = [name for module in code.modules for name in _named(ast.parse(module.text))]
    targets = [target.replace(":", ".") for target in code.targets.values()]
    theirs = _roots(name for name in named if not _OURS.match(name)) - own
    extras = _extras()
    ready = _roots(_behind(name for name in [*named, *targets] if _is_ready(name))) & extras.keys()
    providers = metadata.packages_distributions() if theirs | ready else {}

    found = {distribution for name in theirs | ready for distribution in providers.get(name, ())}
    lines = [_pinned(distribution) for distribution in found | {_DISTRIBUTION}]
    lines += [extras[name] for name in ready - providers.keys()]
    strange = theirs - ready - providers.keys()
    missing = [f"# {name}: imported, and not installed where this was exported" for name in strange]
    return "\n".join([*sorted(lines, key=str.lower), *sorted(missing)]) + "\n"


def _is_ready(name: str) -> bool:
    return f"{name}.".startswith(f"{_READY}.")


def _pinned(distribution: str) -> str:
    # A local version, such as the +cu128 of a CUDA build, is in no public index.
    return f"{distribution}=={metadata.version(distribution).partition('+')[0]}"


def _extras() -> dict[str, str]:
    """The requirements of dynamo-nb's extras by name, which is also the name that each is imported by."""
    extras = {}
    for line in metadata.requires(_DISTRIBUTION) or ():
        requirement, _, marker = line.partition(";")
        if "extra ==" in marker and (name := _NAME.match(requirement)) is not None:
            extras[name[0]] = requirement.strip()
    return extras


def _roots(names: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names


def _named(tree: ast.Module) -> Iterator[str]:
    """What a module imports, and what it may use of ready services that it imports as a whole or with `*`."""
    imports = set(_imports(tree))
    yield from imports
    if imports & {"dynamo_nb", _READY, f"{_READY}.*"}:
        names = {node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "") for node in ast.walk(tree)}
        yield from (f"{_READY}.{name}" for name in names & set(import_module(_READY).__all__))


def _imports(node: ast.AST) -> Iterator[str]:
    """What is imported, with dots: `a.b` for `from a import b` too. Not what only type checkers import."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
    else:
        typing = isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for child in node.orelse if typing else ast.iter_child_nodes(node):  # type: ignore[attr-defined]
            yield from _imports(child)


def _behind(names: Iterable[str]) -> set[str]:
    """What the modules of ready services import, beginning with those that have these names."""
    found: set[str] = set()
    seen: set[str] = set()
    todo = list(names)
    while todo:
        for module in _modules_of(todo.pop()) - seen:
            seen.add(module)
            for name in _imports(ast.parse(inspect.getsource(import_module(module)))):
                if _is_ready(name):
                    todo.append(name)
                elif not _OURS.match(name):
                    found.add(name)
    return found


def _modules_of(name: str) -> set[str]:
    """The modules of a ready service that `import name` or `from … import name` needs: where it is, and is from."""
    module, _, attribute = name.rpartition(".")
    try:
        return {import_module(name).__name__}
    except ModuleNotFoundError:
        value = getattr(import_module(module), attribute, None)
    origin = getattr(value, "__module__", module)
    return {module, origin if _is_ready(origin) else module}
