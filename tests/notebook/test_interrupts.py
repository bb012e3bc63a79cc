"""A cell that is interrupted: what stands under it, and what it leaves running."""

import os

import pytest

GRAPH = """\
import asyncio
from pathlib import Path


@service
class Patient:
    def __init__(self, begun: str = ""):
        self.begun = begun

    @async_on_start
    async def load(self):
        if self.begun:
            Path(self.begun).write_text(str(os.getpid()))
            await asyncio.Event().wait()

    @dynamo_endpoint()
    async def wait(self, gate: str) -> str:
        Path(gate).touch()
        await asyncio.Event().wait()

    @dynamo_endpoint()
    async def stream(self, gate: str) -> AsyncIterator[str]:
        yield "first"
        Path(gate).touch()
        await asyncio.Event().wait()
"""


@pytest.fixture(scope="module")
def served(shared_kernel):
    shared_kernel.load()
    for text in (GRAPH, "deployment = await serve(Patient, http_port=0, kernels=False)"):
        ran = shared_kernel.run(text)
        assert ran.ok, ran.error
    return shared_kernel


@pytest.mark.parametrize(
    "call",
    [
        "await deployment.Patient.wait({gate!r})",
        "async for _ in deployment.Patient.stream({gate!r}): pass",
        "deployment.Patient.wait({gate!r}).result()",
    ],
)
def test_an_interrupted_call_shows_the_persons_line_and_no_frame_of_ours(served, tmp_path, call):
    gate = tmp_path / "gate"
    code = call.format(gate=str(gate))

    ran = served.interrupted_at(gate, code)

    assert ran.name == "KeyboardInterrupt"
    assert ran.error.rstrip().endswith("KeyboardInterrupt:")
    assert f"----> 1 {code}" in ran.error
    assert "CancelledError" not in ran.error
    assert "dynamo_nb/" not in ran.error


def test_what_is_cancelled_without_an_interrupt_is_shown_as_that(served):
    ran = served.run("waiting = asyncio.ensure_future(asyncio.Event().wait())\nwaiting.cancel()\nawait waiting")

    assert ran.name == "CancelledError"
    assert "----> 3 await waiting" in ran.error


def test_serving_that_is_interrupted_leaves_nothing(served, module_home, tmp_path):
    begun = tmp_path / "begun"
    before = sorted(path.name for path in module_home.iterdir())

    ran = served.interrupted_at(begun, f"await serve(Patient, {{'Patient.begun': {str(begun)!r}}}, http_port=0)")

    assert ran.name == "KeyboardInterrupt"
    assert "dynamo_nb/" not in ran.error
    assert sorted(path.name for path in module_home.iterdir()) == before
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)
    assert served.run("deployment").ok
