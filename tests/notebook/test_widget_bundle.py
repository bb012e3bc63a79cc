"""The bundles of the widgets' JavaScript, which are committed so that no user needs node."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ESBUILD = ROOT / "node_modules" / "esbuild"
BUILT = ROOT / "dynamo_nb" / "notebook" / "widget" / "built"


def locked_esbuild_is_installed():
    installed = ESBUILD / "package.json"
    if shutil.which("node") is None or not installed.exists():
        return False
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]["node_modules/esbuild"]["version"]
    return json.loads(installed.read_text())["version"] == locked


@pytest.mark.skipif(not locked_esbuild_is_installed(), reason="node and the locked esbuild are not installed")
def test_the_committed_bundles_are_those_that_the_sources_make(tmp_path):
    _, *options = shlex.split(json.loads((ROOT / "package.json").read_text())["scripts"]["build"])
    options[-1] = f"--outdir={tmp_path}"
    subprocess.run(["node", ESBUILD / "bin" / "esbuild", *options], cwd=ROOT, check=True, capture_output=True)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {path.name: path.read_text() for path in BUILT.iterdir()} == made, "the bundles are old: run `make widget`"


def test_the_lock_file_names_no_registry():
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []
