"""A worker imports what its own service needs, so it starts where another's import is not installed."""

BACKEND = """\
import sys, types
sys.modules["heavy_engine"] = types.ModuleType("heavy_engine")  # as if installed, in this process alone
import heavy_engine

@service(workers=0)
class Backend:
    engine = heavy_engine

    @dynamo_endpoint()
    async def generate(self, text: str) -> str:
        return heavy_engine.run(text)
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


def test_a_worker_of_a_notebook_starts_without_the_import_of_its_dependency(kernel):
    kernel.load()
    assert kernel.run(BACKEND).ok
    assert kernel.run(FRONTEND).ok

    ran = kernel.run("deployment = await serve(Frontend, http_port=0)")

    assert ran.ok, ran.error
    assert kernel.run("print(await deployment.Frontend.loaded())").text == "False\n"
    scaled = kernel.run("await deployment.scale(Backend=1)")
    assert "No module named 'heavy_engine'" in scaled.error, "it is missing where workers run"
    assert 'cell 2 "Backend", line 3' in scaled.error
