"""A plan is restored from its release, which has travelled as JSON."""

import json

import pytest

from dynamo_nb.control.release import Release
from dynamo_nb.deployment.snapshot import Snapshot, release_of
from dynamo_nb.errors import BundleError
from dynamo_nb.graph.assemble import assemble

SERVICES = """
from dynamo_nb import depends, dynamo_endpoint, service


@service(dynamo={"namespace": "hello"}, workers=2)
class Backend:
    def __init__(self, suffix: str = "-back", size: int = 1):
        self.suffix = suffix

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return text + self.suffix


@service
class Spare:
    pass


@service
class Frontend:
    backend = depends(Backend, optional=True)
    spare = depends(Spare)


Frontend.link(Backend)
"""


def travelled(release):
    return Release.from_data(json.loads(json.dumps(release.as_data(), default=str)))


@pytest.fixture
def plan(project):
    project.write("restored.py", SERVICES)
    project.write("config.yaml", "Backend:\n  suffix: '!'\n")
    return project.plan_source("restored:Frontend", "config.yaml", args=["--Backend.size=3"], namespace="here").plan()


def test_a_restored_plan_has_the_same_graph_configuration_and_code(plan, tmp_path):
    release = travelled(release_of(plan, tmp_path / "state"))
    found = Snapshot.from_data(release.snapshot).plan(tmp_path / "state", release.spec)

    assert found.spec == plan.spec
    assert found.program.graph.edges == plan.program.graph.edges
    assert set(found.program.graph.services) == set(plan.program.graph.services)
    assert assemble(found.program.graph, found.config, found.code, plan.spec.name) == plan.spec
    assert found.program.source == plan.program.source
    assert found.config.rows() == plan.config.rows()
    assert found.config.services["Backend"].arguments() == plan.config.services["Backend"].arguments()
    assert found.code.files == plan.code.files
    assert found.code.digests == plan.code.digests
    assert (found.layers, found.namespace, found.only) == (plan.layers, "here", "")


def test_altered_code_is_not_restored(plan, tmp_path):
    release = release_of(plan, tmp_path / "state")
    next((tmp_path / "state" / "code").rglob("restored.py")).write_text("")
    with pytest.raises(BundleError, match=r"restored\.py is altered"):
        Snapshot.from_data(release.snapshot).plan(tmp_path / "state", release.spec)
