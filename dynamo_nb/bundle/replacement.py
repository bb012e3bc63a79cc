"""Replaces the files of a bundle by those of a new one, all of them or none.

Only files that an export wrote are replaced or removed. They are replaced one by one, because a folder cannot be
swapped as a whole: other files in it, such as those that a container wrote as root, may belong to another user and
cannot be moved.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from dynamo_nb.errors import BundleError


def replace_files(bundle: Path, new: Path, written: Iterable[str], last: str) -> None:
    """Moves the files of a new bundle into the folder of an existing one; after an error the folder is unchanged.

    Args:
        bundle: the existing folder.
        new: folder with the new files, on the same file system.
        written: paths of the files that the earlier export wrote. Those that the new bundle does not have are removed.
        last: path of the file that is replaced last. Until then the code that it lists is refused as altered.

    Raises:
        BundleError: a file would be replaced that the earlier export did not write.
        OSError: a file cannot be replaced.
    """
    paths = {str(path.relative_to(new)) for path in new.rglob("*") if not path.is_dir()}
    known = {path for path in written if not {"..", "/"} & set(Path(path).parts)}
    known -= {path for path in known - paths if _is_foreign(bundle / path)}
    for path in sorted(paths):
        _check(bundle / path, new / path, known=path in known)
    replacement = _Replacement(Path(tempfile.mkdtemp(dir=bundle.parent, prefix=f".{bundle.name}-old-")))
    try:
        for path in sorted(paths | known, key=lambda path: (path == last, path)):
            replacement.take(bundle / path, new / path if path in paths else None)
    except BaseException:
        replacement.undo()
        raise
    replacement.keep(bundle)


def _is_foreign(target: Path) -> bool:
    """True if the path cannot be a file of a bundle: a folder, or in a folder that is a link."""
    return (target.is_dir() and not target.is_symlink()) or target.parent.resolve() != target.parent


def _check(target: Path, source: Path, *, known: bool) -> None:
    exists = target.exists() or target.is_symlink()
    if _is_foreign(target) or (exists and not known and target.read_bytes() != source.read_bytes()):
        raise BundleError(
            "what the export did not write would be replaced",
            where=str(target),
            remedy="move it to another place, or choose another folder",
        )


class _Replacement:
    """Replaced files and created folders, so that both can be undone. aside: an empty folder for the old files."""

    def __init__(self, aside: Path) -> None:
        self._aside = aside
        self._moved: list[tuple[Path, Path | None]] = []  # a target, and its old file
        self._folders: list[Path] = []

    def take(self, target: Path, source: Path | None) -> None:
        """Puts a file in the place of the target; None removes the target."""
        old = self._aside / str(len(self._moved)) if target.exists() or target.is_symlink() else None
        if source is not None:
            self._create(target.parent)
        self._moved.append((target, old))  # before the move, after which an interrupt may come
        if old is not None:
            target.rename(old)
        if source is not None:
            source.rename(target)

    def _create(self, folder: Path) -> None:
        if not folder.is_dir():
            self._create(folder.parent)
            self._folders.append(folder)
            folder.mkdir()

    def undo(self) -> None:
        """Restores the old files. An old file that cannot be restored stays where it is, beside the bundle."""
        for target, old in reversed(self._moved):
            if old is None:
                target.unlink(missing_ok=True)
            elif old.exists() or old.is_symlink():
                old.rename(target)
        for folder in [*reversed(self._folders), self._aside]:
            with suppress(OSError):  # the last created folder may not exist
                folder.rmdir()

    def keep(self, bundle: Path) -> None:
        """Deletes the old files, and the folders that are empty without them."""
        emptied = {folder for target, _ in self._moved for folder in target.parents if folder.is_relative_to(bundle)}
        for folder in sorted(emptied - {bundle}, key=lambda folder: -len(folder.parts)):
            with suppress(OSError):  # not empty
                folder.rmdir()
        shutil.rmtree(self._aside, ignore_errors=True)
