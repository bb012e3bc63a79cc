"""Files of a bundle that somebody has changed since they were exported: another export keeps them beside its own.

The digests of the files are in comments of the graph file, and those of the code in the graph itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

FOLDER: Final = "edited"
"""The folder in a bundle for files that were changed."""
_HEAD: Final = "# Digests of the other files:\n"
_DIGEST: Final = re.compile(r"^#   (\S+) (sha256:[0-9a-f]{64})$", re.MULTILINE)


def digests_text(files: Mapping[str, str]) -> str:
    """The comments with the digests of files. files: their texts, by path."""
    lines = (f"#   {path} {_digest(text.encode())}\n" for path, text in sorted(files.items()))
    return _HEAD + "".join(lines)


def read_digests(graph: str) -> dict[str, str]:
    """The digests in the text of a graph file, by path; none in that of an older bundle."""
    return {match[1]: match[2] for match in _DIGEST.finditer(graph)}


def keep_edited(bundle: Path, digests: Mapping[str, str], new: Path) -> list[tuple[str, str]]:
    """Copies the files of a bundle that were changed into the new bundle.

    Args:
        bundle: the existing folder.
        digests: digests of its files as they were exported, by path.
        new: folder with the new files.

    Returns:
        The path of each changed file, and that of its copy.

    Raises:
        OSError: A copy cannot be written.
    """
    kept = []
    for path, digest in sorted(digests.items()):
        if {"..", "/"} & set(Path(path).parts):
            continue
        data = _content(bundle / path)
        if data is None or _digest(data) == digest or data == _content(new / path):
            continue
        copy = next(name for name in _names(path) if not _is_taken(bundle / name, data))
        (new / copy).parent.mkdir(parents=True, exist_ok=True)
        (new / copy).write_bytes(data)
        kept.append((path, copy))
    return kept


def edited_notes(kept: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each file that was kept."""
    return [f"{path} was changed since it was exported: the changed file is now {copy}" for path, copy in kept]


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def _names(path: str) -> Iterator[str]:
    yield f"{FOLDER}/{path}"
    number = 2
    while True:
        yield f"{FOLDER}/{path}.{number}"
        number += 1


def _is_taken(file: Path, data: bytes) -> bool:
    return file.exists() and _content(file) != data
