"""The package indexes that the installers of this machine use, as lines of requirements.txt, without credentials."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from configparser import Error, RawConfigParser
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dynamo_nb.bundle.provenance import without_credentials

_DEFAULT: Final = "https://pypi.org/simple"
_INDEX: Final = ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX")
_EXTRA: Final = ("PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX")
_LINKS: Final = ("PIP_FIND_LINKS", "UV_FIND_LINKS")
_HOSTS: Final = ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST")
_TORCH_INDEX: Final = "https://download.pytorch.org/whl"
_TORCH_BUILD: Final = re.compile(r"(?:torch|torchvision|torchaudio)==[^+]+\+(cpu|cu\d+|rocm[\d.]+|xpu)")
"""Builds that are only on the index of torch: https://pytorch.org/get-started/locally/."""
_OTHER_BUILD: Final = re.compile(r"([\w.-]+)==[^+]+\+(.+)")


def index_lines() -> list[str]:
    """The options for pip: the index that replaces PyPI, and further ones. None for PyPI alone.

    They are read from pip's and uv's configuration files, and from their environment variables, which override them.
    An index in a folder of this machine is left out with a comment.
    """
    pip, uv = _pip_configuration(), _uv_configuration()
    index = _set(_INDEX) or uv.get("index-url") or pip.get("index-url", "").split()
    extra = _set(_EXTRA) or [*uv.get("extra-index-url", ()), *pip.get("extra-index-url", "").split()]
    links = _set(_LINKS) or [*uv.get("find-links", ()), *pip.get("find-links", "").split()]
    hosts = _set(_HOSTS) or [*uv.get("allow-insecure-host", ()), *pip.get("trusted-host", "").split()]
    lines = [f"--index-url {url}" for url in index[-1:] if without_credentials(url).rstrip("/") != _DEFAULT]
    lines += [f"--extra-index-url {url}" for url in extra]
    lines += [f"--find-links {url}" for url in links]
    found = list(dict.fromkeys(map(_public, lines)))
    used = " ".join(found)
    return [*found, *(f"--trusted-host {host}" for host in dict.fromkeys(hosts) if host.partition(":")[0] in used)]


def build_indexes(requirements: Iterable[str]) -> list[str]:
    """Returns lines for builds that PyPI does not have: the index of torch, or a comment with a remedy.

    Args:
        requirements: Lines such as `torch==2.9.0+cpu`.
    """
    lines = []
    for line in sorted(requirements):
        if torch := _TORCH_BUILD.fullmatch(line):
            lines.append(f"--extra-index-url {_TORCH_INDEX}/{torch[1]}")
        elif other := _OTHER_BUILD.fullmatch(line):
            lines.append(
                f"# {other[1]}: PyPI has no build +{other[2]}. Name its index (PIP_EXTRA_INDEX_URL when exporting), "
                f"or remove +{other[2]} below"
            )
    return sorted(dict.fromkeys(lines), key=lambda line: line.startswith("#"))


def _set(variables: tuple[str, ...]) -> list[str]:
    """The addresses in environment variables; uv allows a name before each, as in `name=https://…`."""
    words = [word for name in variables for word in _words(name, os.environ.get(name, ""))]
    return [word[word.index("=") + 1 :] if "=" in word.partition("://")[0] else word for word in words]


def _words(variable: str, value: str) -> list[str]:
    return value.replace(",", " ").split() if variable == "UV_FIND_LINKS" else value.split()


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


def _uv_configuration() -> dict[str, list[str]]:
    """The options in uv's configuration files: of the project in the current folder, of the user, of the system.

    The values of a file come before the values of the next file. The keys are names of pip's options.
    """
    found: dict[str, list[str]] = {}
    for settings in _uv_settings():
        pip = settings.get("pip") or {}
        for one in settings.get("index") or ():
            found.setdefault("index-url" if one.get("default") else "extra-index-url", []).append(str(one.get("url")))
        for name in ("index-url", "extra-index-url", "find-links", "allow-insecure-host"):
            value = settings.get(name, pip.get(name, []))
            found.setdefault(name, []).extend([value] if isinstance(value, str) else map(str, value))
    return {name: values[:1] if name == "index-url" else values for name, values in found.items() if values}


def _uv_settings() -> Iterator[Mapping[str, Any]]:
    if os.environ.get("UV_NO_CONFIG"):
        return
    if own := os.environ.get("UV_CONFIG_FILE"):
        yield from filter(None, [_toml(Path(own))])
        return
    for folder in (Path.cwd(), *Path.cwd().parents):
        project = _toml(folder / "uv.toml") or _toml(folder / "pyproject.toml").get("tool", {}).get("uv")
        if isinstance(project, dict) and project:
            yield project
            break
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    system = [Path(folder) for folder in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    yield _toml(home / "uv" / "uv.toml")
    yield next(filter(None, (_toml(folder / "uv" / "uv.toml") for folder in [*system, Path("/etc")])), {})


def _toml(file: Path) -> dict[str, Any]:
    with suppress(OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return tomllib.loads(file.read_text(encoding="utf-8"))
    return {}
