"""The order in which services are started."""

import pytest

pytestmark = pytest.mark.slow

BOUND = 60
PROGRAM = """\
import asyncio
from pathlib import Path

from dynamo_nb import async_on_start, depends, dynamo_context, dynamo_endpoint, service


@service
class Helper:
    @async_on_start
    async def wait(self):
        async with asyncio.timeout(30):
            while not Path(dynamo_context["folder"], "front").exists():
                await asyncio.sleep(0.01)

    @dynamo_endpoint()
    async def help(self) -> str:
        return "helped"


@service
class Front:
    helper = depends(Helper, optional=True)

    @async_on_start
    async def begin(self):
        Path(dynamo_context["folder"], "front").touch()

    @dynamo_endpoint()
    async def ask(self) -> str:
        return await self.helper.help()


Front.link(Helper)
"""


async def test_a_service_does_not_wait_for_an_optional_dependency(project):
    project.write("order.py", PROGRAM)
    async with await project.serve("order:Front") as deployment:
        assert await deployment.Front.ask() == "helped"
        folder = deployment.folder
        assert (folder / "front").exists()
    assert not folder.exists()
