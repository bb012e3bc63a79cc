"""A tree of modules: the code of a graph's services as a value, and as a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from dynamo_nb.errors import BundleError
from dynamo_nb.source.source_map import SourceMap


def digest(parts: Iterable[str]) -> str:
    """A sha256 over texts, as "sha256:…", each with its length, so that no two sequences of texts are alike."""
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
    """The modules of some services, and which of them each service needs.

    targets: "module:Class" by service. closures: the modules that a service imports, transitively, by service.
    digests: "sha256:…" of the code that a service needs, by service; it stays the same when other services come and
    go, and when a cell is run again unchanged. notes: what the notebook has and workers will not, a line for each.
    """

    modules: tuple[Module, ...] = ()
    targets: Mapping[str, str] = field(default_factory=dict)
    closures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def files(self) -> dict[str, str]:
        """What `sha256sum` says of each file, as "sha256:…" by path: what `verify` checks."""
        return {module.path: _file_digest(module.text.encode()) for module in self.modules}

    @property
    def source_maps(self) -> dict[str, SourceMap]:
        """The source map of each module that has one, by path."""
        return {module.path: module.source_map for module in self.modules if module.source_map}

    @cached_property
    def digest(self) -> str:
        """The sha256 of the whole folder: paths and texts."""
        return digest(part for path, text in sorted(self.files.items()) for part in (path, text))

    def __or__(self, other: CodeTree) -> CodeTree:
        """Both trees in one folder; the same path must hold the same text."""
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

    def write(self, folder: Path) -> Path:
        """Writes the folder in one step: it is there whole, or not at all. A folder that is there is checked instead.

        Raises BundleError when the folder is there and holds something else.
        """
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
                made = Path(beside) / folder.name
                made.mkdir()
                for module in self.modules:
                    path = made / module.path
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(module.text.encode())
                try:
                    made.rename(folder)
                    return folder
                except OSError:
                    if not folder.exists():  # else another process was faster with the same tree
                        raise
        verify(folder, self.files)
        return folder


def verify(folder: Path, files: Mapping[str, str]) -> None:
    """Checks a folder against the digests of its files (`CodeTree.files`).

    Raises BundleError that names every file that is missing or altered.
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
        remedy = "export it again, or put back the files as they were"
        raise BundleError("the code is not what was written: " + ", ".join(faults), where=str(folder), remedy=remedy)
