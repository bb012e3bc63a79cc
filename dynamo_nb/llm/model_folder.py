"""Models in folders."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dynamo_nb.errors import DynamoError

PATH_STARTS: Final = ("/", ".", "~")  # the first characters of a path; names on a hub have others


def check_folder(model: str, where: str) -> bool:
    """Returns True if a model is a folder on this machine, False if it is a name on a hub.

    Args:
        model: A path, or the name of a model; "" for none.
        where: The key of the configuration, for the error.

    Raises:
        DynamoError: It is a path, and the folder does not exist.
    """
    is_folder = bool(model) and Path(model).expanduser().is_dir()
    if not is_folder and model.startswith(PATH_STARTS):
        raise DynamoError(f"no folder {model!r}", where=where, remedy="check the path")
    return is_folder
