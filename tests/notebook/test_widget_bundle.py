"""The bundle of the widget's JavaScript, which is committed so that no user needs node."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ESBUILD = ROOT / "node_modules" / "esbuild"
BUILT = ROOT / "dynamo_nb" / "notebook" / "widget" / "built" / "widget.js"


def locked_esbuild_is_installed():
    installed = ESBUILD / "package.json"
    if shutil.which("node") is None or not installed.exists():
        return False
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]["node_modules/esbuild"]["version"]
    return json.loads(installed.read_text())["version"] == locked


@pytest.mark.skipif(not locked_esbuild_is_installed(), reason="node and the locked esbuild are not installed")
def test_the_committed_bundle_is_the_one_that_the_sources_make(tmp_path):
    _, *options = shlex.split(json.loads((ROOT / "package.json").read_text())["scripts"]["build"])
    made = tmp_path / "widget.js"
    options[-1] = f"--outfile={made}"
    subprocess.run(["node", ESBUILD / "bin" / "esbuild", *options], cwd=ROOT, check=True, capture_output=True)
    assert BUILT.read_text() == made.read_text(), "the bundle is old: run `make widget`"


def test_the_lock_file_names_no_registry():
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []
