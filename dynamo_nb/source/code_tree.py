"""CodeTree: the modules of a graph's services, as a value and as a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from dynamo_nb.errors import BundleError
from dynamo_nb.source.source_map import SourceMap


def digest(parts: Iterable[str]) -> str:
    """The sha256 of a sequence of texts, as "sha256:…". Their lengths are included, so that sequences are distinct."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode()
        total.update(len(data).to_bytes(8, "big") + data)
    return f"sha256:{total.hexdigest()}"


def _file_digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Module:
    """name: dotted, as it is imported. path: in the folder, with forward slashes.

    source_map: which cells its lines are from. It does not count in comparisons: a cell that runs again gets another
    number.
    """

    name: str
    path: str
    text: str
    source_map: SourceMap = field(default=(), compare=False)


@dataclass(frozen=True)
class CodeTree:
    """The modules of some services.

    targets: "module:Class" by service. closures: the names of the modules that a service imports, also indirectly, by
    service. digests: "sha256:…" of the code that a service needs, by service. A digest does not change with other
    services, nor when a cell runs again unchanged. notes: differences between the notebook and its workers, as lines.
    """

    modules: tuple[Module, ...] = ()
    targets: Mapping[str, str] = field(default_factory=dict)
    closures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def files(self) -> dict[str, str]:
        """The sha256 of each file, as "sha256:…" by path, for `verify`."""
        return {module.path: _file_digest(module.text.encode()) for module in self.modules}

    @property
    def source_maps(self) -> dict[str, SourceMap]:
        """The source map of each module that has one, by path."""
        return {module.path: module.source_map for module in self.modules if module.source_map}

    @cached_property
    def digest(self) -> str:
        """The sha256 of the whole folder, paths and texts."""
        return digest(part for path, text in sorted(self.files.items()) for part in (path, text))

    def __or__(self, other: CodeTree) -> CodeTree:
        """Both trees in one folder. Raises BundleError if they have different texts for a path."""
        modules = {module.path: module for module in self.modules}
        for module in other.modules:
            if modules.setdefault(module.path, module) != module:
                raise BundleError(f"two different files would be written to {module.path}")
        return CodeTree(
            tuple(modules[path] for path in sorted(modules)),
            {**self.targets, **other.targets},
            {**self.closures, **other.closures},
            {**self.digests, **other.digests},
            (*self.notes, *(note for note in other.notes if note not in self.notes)),
        )

    def renamed(self, names: Mapping[str, str]) -> CodeTree:
        """The tree with other names of its services: `names` maps each name to the new one."""
        return replace(
            self,
            targets={names[k]: v for k, v in self.targets.items()},
            closures={names[k]: v for k, v in self.closures.items()},
            digests={names[k]: v for k, v in self.digests.items()},
        )

    def write(self, folder: Path) -> Path:
        """Writes the folder atomically and returns it. A folder that exists is verified instead.

        Raises BundleError if the folder exists with other contents.
        """
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
                new = Path(temporary) / folder.name
                new.mkdir()
                for module in self.modules:
                    path = new / module.path
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(module.text.encode())
                try:
                    new.rename(folder)
                    return folder
                except OSError:
                    if not folder.exists():  # otherwise another process has written the same tree
                        raise
        verify(folder, self.files)
        return folder


def verify(folder: Path, files: Mapping[str, str]) -> None:
    """Checks a folder against the digests of its files (`CodeTree.files`).

    Raises BundleError that lists the missing and altered files.
    """
    faults = []
    for path, expected in sorted(files.items()):
        try:
            found = _file_digest((folder / path).read_bytes())
        except FileNotFoundError:
            faults.append(f"{path} is missing")
        else:
            if found != expected:
                faults.append(f"{path} is altered")
    if faults:
        remedy = "export it again, or restore the files"
        raise BundleError(
            "the code was changed after it was written: " + ", ".join(faults), where=str(folder), remedy=remedy
        )
