"""The origin of an installed package, as a line of requirements.txt.

A package that did not come from an index is never required by its name alone: on an index the name may belong to a
stranger. Credentials in addresses are left out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

_GIT_TIME: Final = 10.0
"""Seconds for one command of git."""
_GIT_ENVIRONMENT: Final = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
_VARIABLES: Final = re.compile(r"(\$\{[A-Z0-9_]+\}:?)+")
"""Names of variables in place of credentials, which pip fills in."""
_SHORT_FORM: Final = re.compile(r"(?P<host>(?:[\w.-]+@)?[\w.-]+):(?!/)(?P<path>.+)")
"""The form of an address that ssh and git have in common, `git@host:path`."""


def requirement(distribution: str) -> list[str]:
    """The lines for an installed distribution: what pip installs, and before it a comment if something is to be done.

    - From an index: its version, with its local part, such as the +cu128 of a CUDA build. PyPI has no such versions.
    - From a repository or an archive on the network: the address, with the commit or the digest.
    - From a folder that is an unchanged, published commit of a git repository: as from the repository.
    - From another folder or file of this machine: its wheel beside requirements.txt, which has to be put there.
    """
    found = metadata.distribution(distribution)
    origin = _origin(found)
    if not origin:
        return [f"{distribution}=={found.version}"]
    if (address := _address(origin)) is not None:
        return [f"{distribution} @ {address}"]
    kind = "a folder" if "dir_info" in origin else "a file"
    text = f"# {distribution}: installed from {kind} of the exporting machine. Put its wheel beside this file"
    return [text + (": pip wheel --no-deps FOLDER" if kind == "a folder" else ""), f"./{_wheel_name(found)}"]


def folder_of(distribution: metadata.Distribution) -> Path | None:
    """The folder from which a distribution was installed, if it was."""
    origin = _origin(distribution)
    return Path(url2pathname(urlsplit(origin["url"]).path)) if "dir_info" in origin else None


def without_credentials(url: str) -> str:
    """An address without name, password and query. Variables in place of them stay, and the name `git` of ssh."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    public = _VARIABLES.fullmatch(user) or (parts.scheme.endswith("ssh") and user == "git")
    return urlunsplit((parts.scheme, user + at + host if public else host, parts.path, "", ""))


def _origin(distribution: metadata.Distribution) -> dict[str, Any]:
    """The record of the installer (PEP 610); empty for a distribution from an index.

    Packages of conda have the record of the machine that built them. Old installers left the metadata of a package in
    its folder, without a record.
    """
    folder = _source_folder(distribution)
    if folder is not None:
        return {"url": folder.as_uri(), "dir_info": {"editable": True}}
    by_conda = (distribution.read_text("INSTALLER") or "").strip() == "conda"
    text = None if by_conda else distribution.read_text("direct_url.json")
    origin: dict[str, Any] = json.loads(text) if text else {}
    return origin


def _source_folder(distribution: metadata.Distribution) -> Path | None:
    """The source folder of a distribution whose metadata is in the source folder; None for an installed package."""
    found = Path(str(distribution.locate_file("")))
    path = getattr(distribution, "_path", None)  # only distributions in folders have it
    if not isinstance(path, Path) or path.suffix != ".egg-info" or not path.is_dir():
        return None
    return None if {"site-packages", "dist-packages"} & set(found.parts) else found.resolve()


def _address(origin: Mapping[str, Any]) -> str | None:
    """The address from which pip installs the same elsewhere; None for one on this machine."""
    if "dir_info" in origin:
        return _published(Path(url2pathname(urlsplit(origin["url"]).path)))
    if urlsplit(origin["url"]).scheme == "file":
        return None
    url = without_credentials(origin["url"])
    if vcs := origin.get("vcs_info"):
        folder = f"#subdirectory={origin['subdirectory']}" if origin.get("subdirectory") else ""
        return f"{vcs['vcs']}+{url}@{vcs['commit_id']}{folder}"
    hashes = origin.get("archive_info", {}).get("hashes", {})
    return url + (f"#sha256={hashes['sha256']}" if "sha256" in hashes else "")


def _published(folder: Path) -> str | None:
    """The address of a folder's commit in a repository on the network; None if it has changes or is not there."""
    if _git(folder, "status", "--porcelain", "--", ".") != "":
        return None
    commit, prefix = _git(folder, "rev-parse", "HEAD"), _git(folder, "rev-parse", "--show-prefix")
    branches = _git(folder, "for-each-ref", "--contains", "HEAD", "--format=%(refname:lstrip=2)", "refs/remotes")
    for remote in dict.fromkeys(branch.partition("/")[0] for branch in (branches or "").splitlines()):
        url = _git(folder, "remote", "get-url", remote) or ""
        if "://" not in url and (short := _SHORT_FORM.fullmatch(url)):
            url = f"ssh://{short['host']}/{short['path']}"
        if urlsplit(url).scheme in {"https", "http", "ssh", "git"}:
            part = f"#subdirectory={prefix.rstrip('/')}" if prefix else ""
            return f"git+{without_credentials(url)}@{commit}{part}"
    return None


def _git(folder: Path, *words: str) -> str | None:
    """The output of a command; None if it fails, as without git or outside a repository."""
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *words]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_TIME,
            env={**os.environ, **_GIT_ENVIRONMENT},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _wheel_name(distribution: metadata.Distribution) -> str:
    """The name of the wheel, as tools that build wheels form it."""
    lines = (distribution.read_text("WHEEL") or "").splitlines()
    tag = next((line.partition(":")[2].strip() for line in lines if line.startswith("Tag:")), "py3-none-any")
    name = re.sub(r"[-_.]+", "_", distribution.metadata["Name"]).lower()
    return f"{name}-{distribution.version.replace('-', '_')}-{tag}.whl"
