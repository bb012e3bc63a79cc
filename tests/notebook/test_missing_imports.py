"""A worker imports only what its own service needs. It starts where imports of other services are not installed."""

import sys
import types
from dataclasses import replace

import pytest
from test_saved import save

from dynamo_nb.deployment.serve_options import ServeOptions
from dynamo_nb.deployment.start import start
from dynamo_nb.errors import TargetError
from dynamo_nb.sdk.portal import Pending, on_portal

BACKEND = """\
# A magic changes this process only.
%run install_engine.py
import heavy_engine

@service(workers=0)
class Backend:
    engine = heavy_engine

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return heavy_engine.run(text)
"""
INSTALL_ENGINE = """\
import sys, types
sys.modules["heavy_engine"] = types.ModuleType("heavy_engine")
"""
FRONTEND = """\
@service
class Frontend:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def loaded(self) -> bool:
        import sys
        return "heavy_engine" in sys.modules
"""


@pytest.mark.parametrize("dependency", ["depends(Backend)", "depends('Backend')"], ids=["by class", "by name"])
def test_a_worker_of_a_notebook_starts_without_the_import_of_its_dependency(kernel, dependency, tmp_path):
    (tmp_path / "install_engine.py").write_text(INSTALL_ENGINE)
    kernel.load()
    assert kernel.run(BACKEND).ok
    assert kernel.run(FRONTEND.replace("depends(Backend)", dependency)).ok

    ran = kernel.run("deployment = await serve(Frontend, http_port=0)")

    assert ran.ok, ran.error
    assert kernel.run("print(await deployment.Frontend.loaded())").text == "False\n"
    scaled = kernel.run("await deployment.scale(Backend=1)")
    assert "No module named 'heavy_engine'" in scaled.error, "it is not installed for workers"
    assert 'cell 2 "Backend", line 3' in scaled.error


SAVED = [
    "from dynamo_nb import depends, dynamo_endpoint, service",
    "import heavy_engine",
    """\
@service
class Backend:
    def __init__(self, size: int = 1):
        self.engine = heavy_engine.Engine(size)

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return self.engine.run(text)
""",
    """\
@service
class Middle:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return await self.backend.generate(heavy_engine.shape(text))
""",
    """\
@service
class Frontend:
    middle = depends(Middle)
    backend = depends(Backend)

    @dynamo_endpoint()
    async def loaded(self) -> bool:
        import sys
        return "heavy_engine" in sys.modules
""",
    "Frontend.link(Middle).link(Backend)\nFrontend.link(Backend)",
    "%%dynamo_config\nBackend:\n  size: 3\n  ServiceArgs:\n    dynamo: {namespace: elsewhere}",
]


@pytest.fixture(params=["notebook", "bundle"])
def target(request, tmp_path, project, monkeypatch):
    """A graph with two services that import a missing package."""
    path = save(tmp_path / "graph.ipynb", SAVED)
    if request.param == "notebook":
        return f"{path}:Frontend"
    with monkeypatch.context() as installed:
        installed.setitem(sys.modules, "heavy_engine", types.ModuleType("heavy_engine"))
        from dynamo_nb.bundle import export

        plan = project.plan_source(f"{path}:Frontend").plan()
        return str(export(plan.spec, plan.code, tmp_path / "bundle"))


def test_one_service_is_served_without_the_imports_of_the_others(project, target):
    source = replace(project.plan_source(target), only="Frontend")
    options = ServeOptions(http_port=0, metrics_port=0, kernels=False)
    with Pending(lambda: on_portal(lambda: start(source, options))).result() as deployment:
        assert deployment.Frontend.loaded().result() is False
        assert deployment.spec.services["Backend"].namespace == "elsewhere"


@pytest.mark.parametrize("only", ["", "Backend", "Middle"])
def test_a_service_with_a_missing_import_cannot_be_started(project, target, only):
    with pytest.raises(TargetError, match="cannot be imported: ModuleNotFoundError: No module named 'heavy_engine'"):
        replace(project.plan_source(target), only=only).plan()
