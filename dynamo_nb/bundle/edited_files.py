"""Files of a bundle that were changed after the export. The next export keeps copies of them.

The digests of the files are in comments of the graph file. The digests of the code are in the graph itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

FOLDER: Final = "edited"
"""The folder in a bundle for copies of changed files."""
_HEAD: Final = "# Digests of the other files:\n"
_DIGEST: Final = re.compile(r"^#   (\S+) (sha256:[0-9a-f]{64})$", re.MULTILINE)


def digests_text(files: Mapping[str, str]) -> str:
    """Returns comments with the digests of files.

    Args:
        files: the texts of the files, by path.
    """
    lines = (f"#   {path} {_digest(text.encode())}\n" for path, text in sorted(files.items()))
    return _HEAD + "".join(lines)


def read_digests(graph: str) -> dict[str, str]:
    """Returns the digests in a graph file, by path; none from a bundle of an earlier version.

    Args:
        graph: the text of the graph file.
    """
    return {match[1]: match[2] for match in _DIGEST.finditer(graph)}


def keep_edited(bundle: Path, digests: Mapping[str, str], new: Path) -> list[tuple[str, str]]:
    """Copies the changed files of a bundle into the new bundle.

    Args:
        bundle: the existing folder.
        digests: digests of its exported files, by path.
        new: folder with the new files.

    Returns:
        The path of each changed file, and the path of its copy.

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
    """Returns a line for each changed file.

    Args:
        kept: the result of `keep_edited`.
    """
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
