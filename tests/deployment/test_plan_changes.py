"""The line that a serving cell prints when it runs again."""

import pytest

from dynamo_nb.deployment.plan_changes import plan_changes

PROGRAM = """
from dynamo_nb import depends, dynamo_endpoint, service

@service
class Backend:
    def __init__(self, dim: int = 32, name: str = "a", api_key: str = "", max_tokens: int = 1): ...

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return text

@service
class Other(Backend): ...

@service
class Frontend:
    backend = depends(Backend)
    other = depends(Other)

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return text
"""
CHANGES = [
    ([], "unchanged"),
    (["--Backend.dim=32"], "unchanged"),
    (["--Backend.dim=64"], "updated Backend (dim 32 → 64)"),
    (["--Backend.dim=64", "--Backend.workers=2"], "updated Backend (workers 1 → 2, dim 32 → 64)"),
    (["--Backend.dim=64", "--Other.name=b"], 'updated Backend (dim 32 → 64), Other (name "a" → "b")'),
    (["--Backend.resources.memory=1Gi"], 'updated Backend (resources.memory not set → "1Gi")'),
    (["--Backend.api_key=sk-1"], "updated Backend (api_key … → …)"),
    (["--Backend.envs.HF_HUB=sk-1"], "updated Backend (envs.HF_HUB not set → …)"),
    (["--Backend.max_tokens=2"], "updated Backend (max_tokens 1 → 2)"),
    (["--Frontend.ServiceArgs.image=" + "x" * 90], f'updated Frontend (image not set → "{"x" * 38}…)'),
]


@pytest.mark.parametrize(("args", "line"), CHANGES, ids=[" ".join(args)[:40] for args, _ in CHANGES])
def test_a_changed_configuration_is_shown_with_both_values(project, args, line):
    project.write("graph.py", PROGRAM)
    before, after = (project.plan_source("graph:Frontend", args=words).plan() for words in ([], args))
    assert plan_changes(before, after) == line


def test_changed_code_links_and_services_are_shown(project):
    project.write("graph.py", PROGRAM)
    project.write("changed.py", PROGRAM.replace("return text", "return text * 2"), "Frontend.link(Backend)")
    before, after = (project.plan_source(f"{module}:Frontend").plan() for module in ("graph", "changed"))
    forth = "updated Backend (code), Frontend (other Other → not linked, code), stopped Other"
    assert plan_changes(before, after) == forth
    back = "updated Backend (code), Frontend (other not linked → Other, code), started Other"
    assert plan_changes(after, before) == back
