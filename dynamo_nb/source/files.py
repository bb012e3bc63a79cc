"""Services in ordinary files: the files of a project that a service imports, unchanged."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import cache_from_source
from pathlib import Path

from dynamo_nb.errors import Problem, SourceError, TargetError
from dynamo_nb.source.code_tree import CodeTree, Module, digest
from dynamo_nb.source.search_path import folders_beyond


def slice_modules(targets: Mapping[str, str], root: Path, search: Sequence[str] = ()) -> CodeTree:
    """Collects the files under `root` that the modules of some services import, also indirectly.

    Installed packages are not copied: a target in one has no modules, and its digest is that of the installed file.

    Args:
        targets: "package.module:Class" by service.
        root: The folder of the project.
        search: The search path of the process. Modules in folders of it that are not installed are copied too.

    Returns:
        The files as modules.

    Raises:
        TargetError: A target's module does not exist.
        SourceError: A file cannot be read as Python; it lists all of them.
    """
    project = _Project(root, search)
    closures = {service: project.closure([target.partition(":")[0]]) for service, target in targets.items()}
    for service, target in targets.items():
        if not closures[service] and _installed(target.partition(":")[0]) is None:
            raise TargetError(f"module {target.partition(':')[0]!r} not found", where=f"{service} = {target}, {root}")
    project.check()
    digests = {}
    for service, modules in closures.items():
        parts = _parts(modules) or [_installed(targets[service].partition(":")[0]) or ""]
        digests[service] = digest([targets[service], *parts])
    return CodeTree(
        _sorted(module for modules in closures.values() for module in modules),
        dict(targets),
        {service: tuple(module.name for module in modules) for service, modules in closures.items()},
        digests,
    )


def with_local_files(
    tree: CodeTree, imports: Mapping[str, Iterable[str]], root: Path, search: Sequence[str] = ()
) -> CodeTree:
    """Adds the files under `root` that the services of a tree import. Their digests include these files.

    imports: the imported names, by service. search: the search path; modules in its folders that are not installed are
    added too. Raises SourceError if a file cannot be read as Python.
    """
    project = _Project(root, search)
    closures = {service: project.closure(names) for service, names in imports.items()}
    project.check()
    local = CodeTree(
        _sorted(module for modules in closures.values() for module in modules),
        closures={
            service: (*tree.closures[service], *(module.name for module in modules))
            for service, modules in closures.items()
        },
        digests={
            service: digest([tree.digests[service], *_parts(modules)])
            for service, modules in closures.items()
            if modules
        },
    )
    return tree | local


def drop_stale_bytecode(module: str, root: Path) -> None:
    """Removes outdated bytecode of the files under `root` that a module imports.

    Python compares sizes and whole seconds, so after a quick edit it would import the previous version.
    """
    for found in _Project(root).closure([module]):
        file = root / found.path
        compiled = Path(cache_from_source(str(file)))
        if compiled.exists() and compiled.stat().st_mtime_ns <= file.stat().st_mtime_ns:
            compiled.unlink(missing_ok=True)


def imported(tree: ast.AST, name: str = "", *, is_package: bool = False) -> Iterator[str]:
    """The names of modules that code may import, anywhere in it. `from a import b` may import the module a.b."""
    package = name.split(".") if is_package else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
            yield base


def _parts(modules: Iterable[Module]) -> list[str]:
    return [part for module in modules for part in (module.path, module.text)]


def _sorted(modules: Iterable[Module]) -> tuple[Module, ...]:
    return tuple(sorted(set(modules), key=lambda module: module.path))


_INSTALLED_IN_WORKERS = {"dynamo_nb", "dynamo"}
"""Packages that are never copied, even if the project is the checkout of this package."""


class _Project:
    """The Python files under a folder, and under those of a search path. problems: files that cannot be read."""

    def __init__(self, root: Path, search: Sequence[str] = ()) -> None:
        self.root = root
        self._search = search
        self.problems: list[Problem] = []
        self._modules: dict[str, Module | None] = {}

    def check(self) -> None:
        if self.problems:
            raise SourceError("files of the project cannot be read", self.problems)

    def closure(self, names: Iterable[str]) -> list[Module]:
        found: dict[str, Module] = {}
        pending = list(names)
        while pending:
            name = pending.pop()
            parts = name.split(".")
            # Importing a.b.c imports a and a.b before it.
            for end in range(1, len(parts) + 1):
                prefix = ".".join(parts[:end])
                if prefix not in found and (module := self._module(prefix)):
                    found[prefix] = module
                    pending += self._imports(module)
        return sorted(found.values(), key=lambda module: module.path)

    def _module(self, name: str) -> Module | None:
        if name.partition(".")[0] in _INSTALLED_IN_WORKERS:
            return None
        if name not in self._modules:
            folders = (self.root, *folders_beyond(self._search, name.partition(".")[0]))
            found = (module for folder in folders for module in self._in_folder(folder, name))
            self._modules[name] = next(found, None)
        return self._modules[name]

    def _in_folder(self, folder: Path, name: str) -> Iterator[Module | None]:
        base = name.replace(".", "/")
        paths = [path for path in (f"{base}/__init__.py", f"{base}.py") if (folder / path).is_file()]
        if paths:
            yield self._read(folder, name, paths[0])

    def _read(self, folder: Path, name: str, path: str) -> Module | None:
        try:
            return Module(name, path, (folder / path).read_bytes().decode())
        except UnicodeDecodeError:
            self.problems.append(Problem("the file is not UTF-8", path))
            return None

    def _imports(self, module: Module) -> list[str]:
        try:
            return _imports_of(module.text, module.name, is_package=module.path.endswith("__init__.py"))
        except SyntaxError as error:
            self.problems.append(Problem(f"syntax error: {error.msg}", module.path, f"line {error.lineno}"))
            return []


@lru_cache(maxsize=512)
def _imports_of(text: str, name: str, *, is_package: bool) -> list[str]:
    return sorted(set(imported(ast.parse(text), name, is_package=is_package)))


def _installed(name: str) -> str | None:
    """The digest of an installed module's file, without importing it; None if there is no such module."""
    path: list[str] | None = None
    spec = None
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:end]), path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or [])
    origin = spec.origin if spec else None
    return hashlib.sha256(Path(origin).read_bytes()).hexdigest() if origin and Path(origin).is_file() else ""
