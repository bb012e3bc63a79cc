"""Serving from plain Python scripts, whose services are in `__main__`."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SERVICES = """\
import asyncio
from collections.abc import AsyncIterator

from dynamo_nb import depends, dynamo_endpoint, serve, service


@service
class Backend:
    def __init__(self, suffix="-back"):
        self.suffix = suffix

    @dynamo_endpoint()
    async def generate(self, text: str) -> AsyncIterator[str]:
        for word in text.split():
            yield word + self.suffix


@service
class Frontend:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def generate(self, text: str) -> AsyncIterator[str]:
        async for word in self.backend.generate(text):
            yield word


Frontend.link(Backend)


"""
WITHOUT_A_LOOP = """\
if __name__ == "__main__":
    with serve(Frontend, {"Backend.suffix": "!"}, http_port=0).result() as deployment:
        print(*deployment.Frontend.generate("one two").result())
        deployment.scale(Backend=2).result()
        print(len(deployment.status.services["Backend"].workers))
    print(deployment.ended)
"""
WITH_A_LOOP = """\
async def main():
    async with await serve(Frontend, {"Backend.suffix": "!"}, http_port=0) as deployment:
        print(*[word async for word in deployment.Frontend.generate("one two")])
        await deployment.scale(Backend=2)
        print(len(deployment.status.services["Backend"].workers))
    print(deployment.ended)


if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("main", [WITHOUT_A_LOOP, WITH_A_LOOP], ids=["without a loop", "with a loop"])
def test_a_script_serves_its_own_services(dynamo_home, tmp_path, main):
    (tmp_path / "script.py").write_text(SERVICES + main)
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("one! two!\n2\nTrue\n", "", 0)


def test_a_script_without_a_main_guard_fails_instead_of_serving_itself_again(dynamo_home, tmp_path):
    """Workers import the script, and its last lines with it."""
    main = WITHOUT_A_LOOP.replace('if __name__ == "__main__":', "if True:")
    (tmp_path / "script.py").write_text(SERVICES + main)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert '`if __name__ == "__main__":`' in done.stderr
