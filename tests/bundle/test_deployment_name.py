"""`--name`: the name of a deployment, in the plan, in its snapshot and in a bundle."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dynamo_nb.deployment.plan_source import FixedProgram
from dynamo_nb.program import find
from dynamo_nb.program.find import read_again

DYNAMO = str(Path(sys.executable).with_name("dynamo"))


def test_the_name_is_that_of_the_plan_and_of_its_source(hello):
    source = replace(FixedProgram(found=find(hello.target, hello.folder)), name="other")
    plan = source.plan()
    assert plan.spec.name == plan.program.source.name == read_again(plan.program.source).name == "other"


def export(hello, *words):
    command = [DYNAMO, "export", hello.target, "bundle", *words]
    return subprocess.run(command, cwd=hello.folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("name", "shown"), [("shop", "shop"), ("My Shop", "my-shop"), ("shop_2", "shop-2")])
def test_a_bundle_has_the_name(hello, name, shown):
    done = export(hello, f"--name={name}")
    assert done.returncode == 0, done.stderr
    assert any(f"name: {shown}\n" in path.read_text() for path in (hello.folder / "bundle").glob("*.yaml"))


@pytest.mark.parametrize("name", ["店", "x" * 64, "---"])
def test_a_name_that_kubernetes_does_not_allow_is_refused_with_a_way_out(hello, name):
    done = export(hello, f"--name={name}")
    assert done.returncode != 0
    assert "--name=NAME" in done.stdout + done.stderr
