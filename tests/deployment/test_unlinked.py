"""The value of a dependency that is not linked, and the error of each form of its use."""

import httpx
import pytest

from dynamo_nb.errors import DependencyUnlinked, EndpointError, StartError

pytestmark = pytest.mark.slow

PROGRAM = """\
from dynamo_nb import async_on_start, depends, dynamo_api, dynamo_endpoint, service


@service
class Backend:
    @dynamo_endpoint()
    async def generate(self, text: str):
        yield text


@service
class Other(Backend):
    pass


async def ask(service, text):
    return await service.backend.generate(text)


@service
class Frontend:
    backend = depends(Backend)
    other = depends(Other)

    def __init__(self, start=False):
        self.start = start

    @async_on_start
    async def begin(self):
        if self.start:
            await self.backend.generate("first")

    @dynamo_endpoint()
    async def value(self) -> list:
        return [self.backend is None, bool(self.backend), await (self.backend or self.other).generate("a")]

    @dynamo_endpoint()
    async def attribute(self):
        return self.backend.generate

    @dynamo_endpoint()
    async def call(self):
        return await self.backend.generate("a")

    @dynamo_endpoint()
    async def over_lines(self):
        return await (
            self.backend
            .generate("ä")
        )

    @dynamo_endpoint()
    async def stream(self):
        async for item in self.backend.generate("a"):
            yield item

    @dynamo_endpoint()
    async def client(self):
        return self.backend.generate.client.instance_ids()

    @dynamo_endpoint()
    async def named(self):
        backend = self.backend
        return await backend.generate("a")

    @dynamo_endpoint()
    async def elsewhere(self):
        return await ask(self, "a")

    @dynamo_endpoint()
    async def another_none(self):
        nothing = None
        return nothing.generate

    @dynamo_api(http_method="GET")
    async def page(self) -> str:
        return [item async for item in self.backend.generate("a")][0]


Frontend.link(Other)
"""
FORMS = ["attribute", "call", "over_lines", "stream", "client", "named", "elsewhere"]


@pytest.fixture(scope="module")
def deployment(module_project):
    module_project.write("program.py", PROGRAM)
    with module_project.serve("program:Frontend").result() as deployment:
        yield deployment


def test_a_dependency_without_a_link_is_none(deployment):
    assert deployment.Frontend.value().result(30) == [True, False, ["a"]]


@pytest.mark.parametrize("form", FORMS)
def test_the_error_of_a_use_names_the_dependency(deployment, form):
    with pytest.raises(DependencyUnlinked) as caught:
        getattr(deployment.Frontend, form)().result(30)
    error = caught.value
    assert error.what == "Frontend.backend is not linked to Backend, and Frontend.backend.generate was used"
    assert error.remedy == "link it: Frontend.link(Backend); or test it first: if self.backend: …"
    assert "program.py" in error.traceback
    assert isinstance(error, EndpointError)


def test_other_errors_of_none_stay_as_they_are(deployment):
    with pytest.raises(EndpointError, match="'NoneType' object has no attribute 'generate'") as caught:
        deployment.Frontend.another_none().result(30)
    assert type(caught.value) is EndpointError


def test_the_error_of_a_route_names_the_dependency(deployment):
    answer = httpx.get(f"{deployment.urls['Frontend']}/page", timeout=30)
    assert answer.status_code == 500
    assert "Frontend.backend is not linked to Backend" in answer.text


async def test_the_error_of_a_start_hook_names_the_dependency(project):
    project.write("program.py", PROGRAM)
    with pytest.raises(StartError, match=r"Frontend\.backend is not linked to Backend"):
        await project.serve("program:Frontend", args=["--Frontend.start=true"])
