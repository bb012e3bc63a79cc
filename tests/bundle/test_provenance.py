"""Requirements name where a package came from, so that nothing is installed from a stranger."""

import json
import os
import subprocess
import sys

import pytest

from dynamo_nb.bundle.requirements import requirements
from dynamo_nb.source import CodeTree, Module

COMMIT = "4d0eb1f8b2b0c3b0a5f6d0a3c1f8a7e6b5c4d3e2"
SECRET = "hidden-credential"


@pytest.fixture(autouse=True)
def no_configured_indexes(monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path))
    for name in (name for name in os.environ if name.startswith(("PIP_", "UV_")) and name != "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a distribution as an installer does: its files, with a record, and where it came from (PEP 610).

    No other distributions are seen: reading those of this environment takes most of a test's time.
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [str(site), *(entry for entry in sys.path if "site-packages" not in entry)])

    def run(name, *files, version="1.0", direct_url=None, tag="py3-none-any", installer="pip"):
        for file in files:
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            (site / file).write_text("")
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nTag: {tag}\n")
        (info / "INSTALLER").write_text(installer)
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
        if direct_url is not None:
            (info / "direct_url.json").write_text(json.dumps(direct_url))

    run("dynamo-nb")
    return run


def lines_for(*imports, own=()):
    """The requirements of code with these imports, without those of dynamo_nb. own: further modules of the code."""
    modules = [Module("program", "program.py", "\n".join(imports))]
    modules += [Module(name, f"{name.replace('.', '/')}.py", "") for name in own]
    lines = requirements(CodeTree(tuple(modules))).splitlines()
    return [line for line in lines if "dynamo" not in line]


def git(url, **more):
    return {"url": url, "vcs_info": {"vcs": "git", "commit_id": COMMIT}, **more}


def archive(url, **hashes):
    return {"url": url, "archive_info": {"hashes": hashes} if hashes else {}}


FILE = "# acme-lib: installed from a file of the exporting machine. Put its wheel beside this file"
FOLDER = FILE.replace("a file", "a folder", 1) + ": pip wheel --no-deps FOLDER"
WHEEL = "./acme_lib-1.0-py3-none-any.whl"
ORIGINS = {
    "an index": (None, ["acme-lib==1.0"]),
    "git": (git("https://host.example/acme/lib.git"), [f"acme-lib @ git+https://host.example/acme/lib.git@{COMMIT}"]),
    "git with a token": (
        git(f"https://{SECRET}@host.example/acme/lib.git"),
        [f"acme-lib @ git+https://host.example/acme/lib.git@{COMMIT}"],
    ),
    "git with a name and a password": (
        git(f"https://me:{SECRET}@host.example:8443/lib.git"),
        [f"acme-lib @ git+https://host.example:8443/lib.git@{COMMIT}"],
    ),
    "git with a variable": (
        git("https://${TOKEN}@host.example/lib.git"),
        [f"acme-lib @ git+https://${{TOKEN}}@host.example/lib.git@{COMMIT}"],
    ),
    "git over ssh": (
        git("ssh://git@host.example/acme/lib.git"),
        [f"acme-lib @ git+ssh://git@host.example/acme/lib.git@{COMMIT}"],
    ),
    "a folder in a git repository": (
        git("https://host.example/mono.git", subdirectory="libs/acme"),
        [f"acme-lib @ git+https://host.example/mono.git@{COMMIT}#subdirectory=libs/acme"],
    ),
    "git in a folder of this machine": (git("file:///home/me/lib"), [FILE, WHEEL]),
    "a wheel on the network": (
        archive("https://host.example/acme_lib-1.0-py3-none-any.whl", sha256="ab12"),
        ["acme-lib @ https://host.example/acme_lib-1.0-py3-none-any.whl#sha256=ab12"],
    ),
    "a signed address": (
        archive(f"https://host.example/acme_lib-1.0.tar.gz?signature={SECRET}"),
        ["acme-lib @ https://host.example/acme_lib-1.0.tar.gz"],
    ),
    "a wheel of this machine": (archive("file:///home/me/acme_lib-1.0-py3-none-any.whl", sha256="ab12"), [FILE, WHEEL]),
    "a folder": ({"url": "file:///home/me/lib", "dir_info": {}}, [FOLDER, WHEEL]),
    "an editable folder": ({"url": "file:///home/me/lib", "dir_info": {"editable": True}}, [FOLDER, WHEEL]),
}


@pytest.mark.parametrize("name", ORIGINS)
def test_a_requirement_names_where_the_package_came_from(install, name):
    direct_url, expected = ORIGINS[name]
    install("acme-lib", "acme_lib/__init__.py", direct_url=direct_url)

    lines = lines_for("import acme_lib")

    assert lines == expected
    assert SECRET not in "".join(lines)
    assert "/home/me" not in "".join(lines)


def test_a_package_of_conda_is_required_by_its_version(install):
    origin = archive("file:///home/conda/feedstock_root/acme_lib-1.0-py3-none-any.whl")
    install("acme-lib", "acme_lib/__init__.py", direct_url=origin, installer="conda\n")
    assert lines_for("import acme_lib") == ["acme-lib==1.0"]


def test_the_wheel_of_a_compiled_package_has_its_tag(install):
    origin = {"url": "file:///home/me/lib", "dir_info": {}}
    install("acme-lib", "acme_lib/__init__.py", direct_url=origin, tag="cp311-cp311-linux_x86_64", version="2.0+local")
    assert lines_for("import acme_lib")[1:] == ["./acme_lib-2.0+local-cp311-cp311-linux_x86_64.whl"]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with a package in a folder, which has published its commit to `origin`."""
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "me")
        monkeypatch.setenv(f"{name}_EMAIL", "me@host.example")
    folder = tmp_path / "mono"
    (folder / "libs" / "acme" / "src" / "acme_lib").mkdir(parents=True)
    (folder / "libs" / "acme" / "src" / "acme_lib" / "__init__.py").write_text("")

    def run(*words):
        return subprocess.run(
            ["git", "-C", str(folder), *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    run("init", "-q", "-b", "main")
    run("add", "-A")
    run("commit", "-qm", "first")
    run("remote", "add", "origin", f"https://me:{SECRET}@host.example/mono.git")
    run("update-ref", "refs/remotes/origin/main", "HEAD")
    run.folder = folder
    return run


def unchanged(git):
    pass


def short_address(git):
    git("remote", "set-url", "origin", "git@host.example:acme/mono.git")


def a_changed_file(git):
    (git.folder / "libs" / "acme" / "src" / "acme_lib" / "__init__.py").write_text("changed = True")


def a_new_file(git):
    (git.folder / "libs" / "acme" / "src" / "acme_lib" / "more.py").write_text("")


def a_change_elsewhere(git):
    (git.folder / "README").write_text("not in the package")


def an_unpublished_commit(git):
    git("commit", "-qm", "second", "--allow-empty")


def a_remote_on_this_machine(git):
    git("remote", "set-url", "origin", "/home/me/mirror.git")


def no_repository(git):
    (git.folder / ".git").rename(git.folder / "not_git")


CHECKOUTS = {
    unchanged: "git+https://host.example/mono.git@{commit}#subdirectory=libs/acme",
    short_address: "git+ssh://git@host.example/acme/mono.git@{commit}#subdirectory=libs/acme",
    a_change_elsewhere: "git+https://host.example/mono.git@{commit}#subdirectory=libs/acme",
    a_changed_file: None,
    a_new_file: None,
    an_unpublished_commit: None,
    a_remote_on_this_machine: None,
    no_repository: None,
}
BY_NAME = {function.__name__: (function, address) for function, address in CHECKOUTS.items()}


@pytest.mark.parametrize("name", BY_NAME)
def test_a_folder_is_required_from_its_repository_if_that_has_the_same(install, checkout, name):
    change, address = BY_NAME[name]
    commit = checkout("rev-parse", "HEAD")
    change(checkout)
    origin = {"url": (checkout.folder / "libs" / "acme").as_uri(), "dir_info": {"editable": True}}
    install("acme-lib", "__editable__.acme_lib-1.0.pth", direct_url=origin)  # an installer may record no module

    expected = [f"acme-lib @ {address.format(commit=commit)}"] if address else [FOLDER, WHEEL]
    assert lines_for("import acme_lib") == expected


NAMESPACES = {
    "one distribution of several": (["import acme.tools"], (), ["acme-tools==1.0"]),
    "an attribute of a module": (["from acme.tools.deep import thing"], (), ["acme-tools==1.0"]),
    "a part, imported by name": (["from acme import data"], (), ["acme-data==1.0"]),
    "both": (["import acme.tools, acme.data"], (), ["acme-data==1.0", "acme-tools==1.0"]),
    "the whole namespace": (["import acme"], (), ["acme-data==1.0", "acme-tools==1.0"]),
    "beside a part of the code": (["import acme.tools", "import acme.app"], ("acme.app",), ["acme-tools==1.0"]),
    "a part of the code alone": (["from acme.app import run"], ("acme.app",), []),
    "the code's namespace alone": (["import acme.app.deep"], ("acme.app.deep", "acme.app.other"), []),
    "a missing part beside a part of the code": (
        ["from acme.gone.deep import thing"],
        ("acme.app",),
        ["# acme.gone: imported, but not installed where the bundle was exported"],
    ),
    "a module that another distribution has too": (["import acme.data.more"], (), ["acme-data==1.0"]),
    "a compiled module": (["from acme.tools import fast"], (), ["acme-tools==1.0"]),
}


@pytest.mark.parametrize("name", NAMESPACES)
def test_parts_of_a_namespace_package_are_required(install, name):
    imports, own, expected = NAMESPACES[name]
    install("acme-tools", "acme/tools/__init__.py", "acme/tools/deep.py", "acme/tools/fast.cpython-311-x86_64.so")
    install("acme-data", "acme/data.py", "acme/data/more.py")

    assert lines_for(*imports, own=own) == expected


INDEXES = {
    "an index in place of PyPI": (
        {"PIP_INDEX_URL": "https://host.example/simple"},
        "",
        ["--index-url https://host.example/simple"],
    ),
    "credentials": (
        {"PIP_INDEX_URL": f"https://me:{SECRET}@host.example/simple"},
        "",
        ["--index-url https://host.example/simple"],
    ),
    "further indexes": (
        {"PIP_EXTRA_INDEX_URL": f"https://{SECRET}@a.example/simple https://b.example/simple"},
        "",
        ["--extra-index-url https://a.example/simple", "--extra-index-url https://b.example/simple"],
    ),
    "a configuration file": (
        {},
        f"[global]\nindex-url = https://me:{SECRET}@host.example/simple\nextra-index-url =\n  https://a.example\n  https://b.example\n",
        [
            "--index-url https://host.example/simple",
            "--extra-index-url https://a.example",
            "--extra-index-url https://b.example",
        ],
    ),
    "a configuration file for pip install": (
        {},
        "[install]\nindex_url = https://host.example/s\n",
        ["--index-url https://host.example/s"],
    ),
    "a variable over a file": (
        {"PIP_INDEX_URL": "https://a.example/s"},
        "[global]\nindex-url = https://b.example/s\n",
        ["--index-url https://a.example/s"],
    ),
    "uv": (
        {"UV_DEFAULT_INDEX": "https://a.example/s", "UV_INDEX": f"torch=https://{SECRET}@b.example/s?x=1"},
        "",
        ["--index-url https://a.example/s", "--extra-index-url https://b.example/s"],
    ),
    "a folder of this machine": (
        {"PIP_EXTRA_INDEX_URL": "file:///home/me/wheels /home/me/more"},
        "",
        ["# --extra-index-url in a folder of the exporting machine is left out"],
    ),
    "pages of links": (
        {"PIP_FIND_LINKS": f"https://me:{SECRET}@a.example/whl/links.html /opt/wheels"},
        "",
        [
            "--find-links https://a.example/whl/links.html",
            "# --find-links in a folder of the exporting machine is left out",
        ],
    ),
    "pages of links for uv": (
        {"UV_FIND_LINKS": "https://a.example/l,https://b.example/l"},
        "",
        ["--find-links https://a.example/l", "--find-links https://b.example/l"],
    ),
    "a host without a certificate": (
        {},
        "[global]\nindex-url = http://host.example/s\ntrusted-host = host.example\n  unused.example\n",
        ["--index-url http://host.example/s", "--trusted-host host.example"],
    ),
    "PyPI itself": ({"PIP_INDEX_URL": "https://pypi.org/simple/"}, "", []),
    "a broken configuration file": ({}, "index-url = x\n", []),
}


@pytest.mark.parametrize("name", INDEXES)
@pytest.mark.usefixtures("install")
def test_indexes_are_named_without_credentials(tmp_path, monkeypatch, name):
    variables, text, expected = INDEXES[name]
    (tmp_path / "pip.conf").write_text(text)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf") if text else os.devnull)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "none"))
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)

    assert lines_for() == expected


TORCH = "https://download.pytorch.org/whl"
UV_PROJECT = f"""
[[tool.uv.index]]
name = "own"
url = "https://me:{SECRET}@a.example/s"
default = true

[[tool.uv.index]]
name = "pytorch-cpu"
url = "{TORCH}/cpu"
explicit = true
"""
UV_FILES = {
    "the project": (
        {"pyproject.toml": UV_PROJECT},
        ["--index-url https://a.example/s", f"--extra-index-url {TORCH}/cpu"],
    ),
    "a folder of the project": (
        {"pyproject.toml": UV_PROJECT, "notebooks/x": ""},
        ["--index-url https://a.example/s", f"--extra-index-url {TORCH}/cpu"],
    ),
    "uv.toml": ({"uv.toml": 'index-url = "https://a.example/s"'}, ["--index-url https://a.example/s"]),
    "the part for pip": (
        {"uv.toml": '[pip]\nextra-index-url = ["https://a.example/s"]\nfind-links = ["/opt/w"]'},
        ["--extra-index-url https://a.example/s", "# --find-links in a folder of the exporting machine is left out"],
    ),
    "the user's file": (
        {".config/uv/uv.toml": 'find-links = ["https://a.example/l"]'},
        ["--find-links https://a.example/l"],
    ),
    "the project before the user": (
        {"uv.toml": 'index-url = "https://a.example"', ".config/uv/uv.toml": 'index-url = "https://b.example"'},
        ["--index-url https://a.example"],
    ),
    "a project without uv": ({"pyproject.toml": "[project]\nname = 'x'"}, []),
    "a broken file": ({"uv.toml": "index-url = "}, []),
}


@pytest.mark.parametrize("name", UV_FILES)
@pytest.mark.usefixtures("install")
def test_indexes_are_read_from_the_files_of_uv(tmp_path, monkeypatch, name):
    files, expected = UV_FILES[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    if (tmp_path / "notebooks").exists():
        monkeypatch.chdir(tmp_path / "notebooks")

    assert lines_for() == expected


REMEDY = "Name its index (PIP_EXTRA_INDEX_URL when exporting), or remove"
OWN_INDEX = {"PIP_EXTRA_INDEX_URL": "https://a.example/s"}
BUILDS = {
    "torch for CPUs": ({}, "torch", "2.9.0+cpu", [f"--extra-index-url {TORCH}/cpu", "torch==2.9.0+cpu"]),
    "torch for CUDA": ({}, "torch", "2.9.0+cu128", [f"--extra-index-url {TORCH}/cu128", "torch==2.9.0+cu128"]),
    "torch for ROCm": (
        {},
        "torchvision",
        "0.24.0+rocm6.4",
        [f"--extra-index-url {TORCH}/rocm6.4", "torchvision==0.24.0+rocm6.4"],
    ),
    "torch of an index of one's own": (
        OWN_INDEX,
        "torch",
        "2.9.0+cpu",
        ["--extra-index-url https://a.example/s", "torch==2.9.0+cpu"],
    ),
    "torch that was built here": (
        {},
        "torch",
        "2.9.0a0+git1234567",
        [
            f"# torch: PyPI has no build +git1234567. {REMEDY} +git1234567 below",
            "torch==2.9.0a0+git1234567",
        ],
    ),
    "another package": (
        {},
        "acme-lib",
        "1.0+acme.2",
        [
            f"# acme-lib: PyPI has no build +acme.2. {REMEDY} +acme.2 below",
            "acme-lib==1.0+acme.2",
        ],
    ),
    "another package of an index": (
        OWN_INDEX,
        "acme-lib",
        "1.0+acme.2",
        ["--extra-index-url https://a.example/s", "acme-lib==1.0+acme.2"],
    ),
}


@pytest.mark.parametrize("name", BUILDS)
def test_a_build_that_pypi_does_not_have_is_required_from_its_index(install, monkeypatch, name):
    variables, package, version, expected = BUILDS[name]
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    module = package.replace("-", "_")
    install(package, f"{module}/__init__.py", version=version)

    assert lines_for(f"import {module}") == expected


@pytest.mark.parametrize("where", ["lib", "site-packages"])
@pytest.mark.parametrize("published", [True, False], ids=["published", "not published"])
def test_a_package_whose_metadata_is_in_its_folder_is_required_from_there(
    install, checkout, monkeypatch, where, published
):
    source = checkout.folder / "libs" / "acme" / "src"
    if where == "site-packages":
        source = source.rename(checkout.folder / "site-packages")
    info = source / "acme_lib.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: acme-lib\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("acme_lib\n")
    if published:
        (checkout.folder / ".gitignore").write_text("*.egg-info\n")
        checkout("add", "-A")
        checkout("commit", "-qm", "second")
        checkout("update-ref", "refs/remotes/origin/main", "HEAD")
    monkeypatch.setattr(sys, "path", [str(source), *sys.path])
    commit = checkout("rev-parse", "HEAD")

    lines = lines_for("import acme_lib")

    address = f"acme-lib @ git+https://host.example/mono.git@{commit}#subdirectory=libs/acme/src"
    assert lines == (["acme-lib==1.0"] if where == "site-packages" else [address] if published else [FOLDER, WHEEL])
