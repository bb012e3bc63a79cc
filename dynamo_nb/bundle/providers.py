"""Which installed distributions provide the modules that code imports, also parts of namespace packages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path

from dynamo_nb.bundle.provenance import folder_of

_SOURCE_FOLDERS = ("", "src", "lib", "python")
"""Folders of a project that may hold its packages."""
_ENDINGS = (".py", ".so", ".pyd", ".pyi")


class Providers:
    """The installed distributions by the modules that they provide."""

    @cached_property
    def by_root(self) -> Mapping[str, Sequence[str]]:
        """The distributions by top-level module."""
        return metadata.packages_distributions()

    @cached_property
    def _from_folders(self) -> Mapping[str, Path]:
        """The folders of the distributions that were installed from one: the package may not name its modules."""
        folders = ((found, folder_of(found)) for found in metadata.distributions())
        return {found.metadata["Name"]: folder for found, folder in folders if folder is not None}

    def find(self, name: str, own: Collection[str]) -> set[str] | None:
        """The distributions of an imported name; None if there are none.

        Several distributions, and the code itself, may share a top-level namespace package.

        Args:
            name: A module, or an attribute of one.
            own: The modules of the code. They need no distribution.
        """
        root = name.partition(".")[0]
        candidates = {*self.by_root.get(root, ()), *self._from_folders}
        for prefix in _prefixes(name):
            if prefix in own:
                return set()
            if found := {one for one in candidates if self._has(one, prefix)}:
                return found
        if any(module.startswith(f"{name}.") for module in own):
            return set()
        shared = any(module.partition(".")[0] == root for module in own)
        return None if shared else set(self.by_root.get(root, ())) or None

    def _has(self, distribution: str, module: str) -> bool:
        path = module.replace(".", "/")
        nested = "." in module  # every part of a namespace package has a folder with its top-level name
        if (folder := self._from_folders.get(distribution)) is not None:
            bases = [folder / source / path for source in _SOURCE_FOLDERS]
            if any(b.with_name(f"{b.name}.py").is_file() or (b / "__init__.py").is_file() for b in bases):
                return True
            return nested and any(base.is_dir() for base in bases)
        files = self._files(distribution)
        return f"{path}/__init__.py" in files or path in files or (nested and f"{path}/" in files)

    def _files(self, distribution: str) -> set[str]:
        """The modules of a distribution as paths without their endings, files of packages, and folders with a slash."""
        if distribution not in self._known:
            known: set[str] = set()
            for file in metadata.files(distribution) or ():
                if file.suffix in _ENDINGS:
                    known |= {str(file), str(file.with_name(file.name.partition(".")[0]))}
                    known |= {f"{parent}/" for parent in file.parents}
            self._known[distribution] = known
        return self._known[distribution]

    @cached_property
    def _known(self) -> dict[str, set[str]]:
        return {}


def _prefixes(name: str) -> Iterator[str]:
    """A dotted name and the names of its parents, the longest first."""
    while name:
        yield name
        name = name.rpartition(".")[0]
