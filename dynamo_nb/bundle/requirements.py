"""The requirements of a bundle: the libraries of its code, and of the services of `dynamo_nb.llm` that it uses."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module, metadata

from dynamo_nb.bundle.indexes import build_indexes, index_lines
from dynamo_nb.bundle.provenance import requirement
from dynamo_nb.bundle.providers import Providers
from dynamo_nb.source import CodeTree

_DISTRIBUTION = "dynamo-nb"
_THIS_PACKAGE = re.compile(r"dynamo_nb(\.|$)|dynamo\.sdk(\.|$)")
_LLM = "dynamo_nb.llm"
"""Services that dynamo-nb includes. It requires their libraries only by extras."""
_NAME = re.compile(r"[\w.-]+")
_IMPORT_NAMES = {"llama-cpp-python": "llama_cpp"}
"""The imported modules of distributions that may not be installed here and have another name than their module."""


def requirements(code: CodeTree) -> str:
    """The text of requirements.txt: dynamo_nb and the libraries that the code imports, as they are installed here.

    A library of `dynamo_nb.llm` that is not installed here, such as vLLM on a laptop, has the version in the extras.
    Package indexes other than PyPI are named, without credentials.
    """
    own = {module.name for module in code.modules}
    names = {name for module in code.modules for name in _used(ast.parse(module.text))}
    targets = [target.replace(":", ".") for target in code.targets.values()]
    providers = Providers()
    found = {
        name: providers.find(name, own)
        for name in names
        if not _THIS_PACKAGE.match(name) and name.partition(".")[0] not in sys.stdlib_module_names
    }
    of_llm = _roots(_imported_by_llm(name for name in [*names, *targets] if _is_llm(name)))
    extras = _extras(providers.by_root) if of_llm else {}
    of_llm -= _always_installed(providers.by_root) - extras.keys() if of_llm else set()

    installed = {one for distributions in found.values() for one in distributions or ()}
    installed |= {one for name in of_llm for one in providers.by_root.get(name, ())}
    lines = [requirement(distribution) for distribution in installed | {_DISTRIBUTION}]
    indexes = index_lines()
    if not any(line.startswith("--") for line in indexes):
        indexes += build_indexes(line for group in lines for line in group)
    absent = {_missing_part(name, own) for name, distributions in found.items() if distributions is None}
    absent |= of_llm - providers.by_root.keys()
    lines += [[extras[name]] for name in absent & of_llm & extras.keys()]
    missing = absent - (of_llm & extras.keys())
    comments = [f"# {name}: imported, but not installed where the bundle was exported" for name in missing]
    sorted_lines = [line for group in sorted(lines, key=lambda group: group[-1].lower()) for line in group]
    return "\n".join([*indexes, *sorted_lines, *sorted(comments)]) + "\n"


def _missing_part(name: str, own: Collection[str]) -> str:
    """The part of a missing name to show: its top-level module, or if the code has a part of that, one more level."""
    parts = name.split(".")
    shared = any(module.partition(".")[0] == parts[0] for module in own)
    return ".".join(parts[: 2 if shared else 1])


def _is_llm(name: str) -> bool:
    return f"{name}.".startswith(f"{_LLM}.")


def _extras(providers: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The requirements in the extras of dynamo-nb, by module."""
    extras = {}
    for name, text in _required_by(_DISTRIBUTION, of_extras=True):
        extras.update(dict.fromkeys(import_names(name, providers), text))
    return extras


def _always_installed(providers: Mapping[str, Sequence[str]]) -> set[str]:
    """The modules that an installation of dynamo-nb without extras brings along."""
    found: set[str] = set()
    pending = [_DISTRIBUTION]
    while pending:
        if (distribution := _normalized(pending.pop())) not in found:
            found.add(distribution)
            pending += [name for name, _ in _required_by(distribution, of_extras=False)]
    return {module for module, names in providers.items() if not found.isdisjoint(map(_normalized, names))}


def _required_by(distribution: str, *, of_extras: bool) -> Iterator[tuple[str, str]]:
    """The names and texts of a distribution's requirements; none if it is not installed."""
    with suppress(metadata.PackageNotFoundError):
        for line in metadata.requires(distribution) or ():
            requirement, _, marker = line.partition(";")
            if ("extra ==" in marker) == of_extras and (name := _NAME.match(requirement)) is not None:
                yield name[0], requirement.strip()


def import_names(distribution: str, providers: Mapping[str, Sequence[str]]) -> set[str]:
    """The top-level modules of a distribution, which may have other names, such as `llama_cpp` of llama-cpp-python.

    Args:
        distribution: Its name in any spelling.
        providers: Distributions by module, as `importlib.metadata.packages_distributions` returns them.
    """
    name = _normalized(distribution)
    installed = {module for module, found in providers.items() if name in map(_normalized, found)}
    return installed or {_IMPORT_NAMES.get(name, name.replace("-", "_"))}


def _normalized(distribution: str) -> str:
    """A name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _roots(names: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names


def _used(tree: ast.Module) -> Iterator[str]:
    """The names that a module imports, and those it uses after `import dynamo_nb.llm` or `from … import *`."""
    imports = set(_imports(tree))
    yield from imports
    if imports & {"dynamo_nb", _LLM, f"{_LLM}.*"}:
        names = {node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "") for node in ast.walk(tree)}
        yield from (f"{_LLM}.{name}" for name in names & set(import_module(_LLM).__all__))


def _imports(node: ast.AST) -> Iterator[str]:
    """The imported names; `a.b` for `from a import b`. Imports under TYPE_CHECKING are left out."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
    else:
        typing = isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for child in node.orelse if typing else ast.iter_child_nodes(node):  # type: ignore[attr-defined]
            yield from _imports(child)


def _imported_by_llm(names: Iterable[str]) -> set[str]:
    """The libraries that modules of `dynamo_nb.llm` import, from those with these names on."""
    found: set[str] = set()
    seen: set[str] = set()
    pending = list(names)
    while pending:
        for module in _modules_of(pending.pop()) - seen:
            seen.add(module)
            for name in _imports(ast.parse(inspect.getsource(import_module(module)))):
                if _is_llm(name):
                    pending.append(name)
                elif not _THIS_PACKAGE.match(name):
                    found.add(name)
    return found


def _modules_of(name: str) -> set[str]:
    """The modules that `import name` or `from … import name` loads: where the name is, and where it is defined."""
    module, _, attribute = name.rpartition(".")
    try:
        return {import_module(name).__name__}
    except ModuleNotFoundError:
        value = getattr(import_module(module), attribute, None)
    origin = getattr(value, "__module__", module)
    return {module, origin if _is_llm(origin) else module}
