"""The package indexes that the installers of this machine use, as lines of requirements.txt, without credentials."""

from __future__ import annotations

import os
import sys
from configparser import Error, RawConfigParser
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from dynamo_nb.bundle.provenance import without_credentials

_DEFAULT: Final = "https://pypi.org/simple"
_INDEX: Final = ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX")
_EXTRA: Final = ("PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX")


def index_lines() -> list[str]:
    """The options for pip: the index that replaces PyPI, and further ones. None for PyPI alone.

    They are read from pip's configuration files, and from the environment variables of pip and uv, which override them.
    An index in a folder of this machine is left out with a comment.
    """
    configured = _pip_configuration()
    index = _set(_INDEX) or configured.get("index-url", "").split()
    extra = _set(_EXTRA) or configured.get("extra-index-url", "").split()
    lines = [f"--index-url {url}" for url in index[-1:] if without_credentials(url).rstrip("/") != _DEFAULT]
    lines += [f"--extra-index-url {url}" for url in dict.fromkeys(extra)]
    return list(dict.fromkeys(map(_public, lines)))


def _set(variables: tuple[str, ...]) -> list[str]:
    """The addresses in environment variables; uv allows a name before each, as in `name=https://…`."""
    words = [word for name in variables for word in os.environ.get(name, "").split()]
    return [word[word.index("=") + 1 :] if "=" in word.partition("://")[0] else word for word in words]


def _public(line: str) -> str:
    option, _, url = line.partition(" ")
    if urlsplit(url).scheme not in {"https", "http"}:
        return f"# {option} in a folder of the exporting machine is left out"
    return f"{option} {without_credentials(url)}"


def _pip_configuration() -> dict[str, str]:
    """The options of `pip install` in its configuration files, the last file that has one."""
    own = os.environ.get("PIP_CONFIG_FILE", "")
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    files = [
        *(Path(folder, "pip", "pip.conf") for folder in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")),
        Path("/etc/pip.conf"),
        Path.home() / ".pip" / "pip.conf",
        home / "pip" / "pip.conf",
        Path(sys.prefix, "pip.conf"),
        Path(own),
    ]
    found: dict[str, str] = {}
    for file in [] if own == os.devnull else files:
        parser = RawConfigParser()
        with suppress(OSError, Error, UnicodeDecodeError):
            parser.read_string(file.read_text(encoding="utf-8"))
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update({name.replace("_", "-"): value for name, value in parser.items(section)})
    return found
