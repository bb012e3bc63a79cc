"""Workers are Jupyter kernels: clients can run cells in one while it serves."""

import asyncio
import re
import sys

import pexpect
import pytest
from deployed_program import pids, until, workers

from dynamo_nb.sdk.portal import portal

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")]

BOUND = 60


@pytest.fixture(scope="module")
def deployment(module_program):
    words = ["--Backend.ServiceArgs.workers=1", "--Backend.suffix=!"]
    with module_program.serve("program:Frontend", args=words, kernels=True).result() as deployment:
        yield deployment


@pytest.fixture
def console(deployment, module_home):
    """`jupyter console` on the kernel of Backend's worker."""
    (worker,) = workers(deployment).values()
    command = ["-m", "jupyter_console", "--existing", worker.connection_file, "--simple-prompt"]
    child = pexpect.spawn(sys.executable, command, encoding="utf-8", timeout=BOUND, cwd=str(module_home))
    child.setecho(False)
    child.expect(r"In \[\d+\]: ")

    def run(line):
        child.sendline(line)
        child.expect(r"In \[\d+\]: ")
        return child.before

    yield run
    child.close(force=True)


async def load(deployment, ended):
    """Calls until `ended` is set. Returns the number of answers."""
    answered = 0
    while not ended.is_set():
        answers = await asyncio.gather(*(deployment.Frontend.say("x") for _ in range(4)))
        assert answers == ["x!"] * 4
        answered += 4
    return answered


def test_a_console_answers_under_load_and_self_is_the_live_service(deployment, console):
    async def both():
        ended = asyncio.Event()
        loading = asyncio.ensure_future(load(deployment, ended))
        try:
            return await asyncio.to_thread(_inspect, console)
        finally:
            ended.set()
            assert await loading > 0

    pid, suffix, printed = portal.run(both())

    assert pid == pids(deployment)[0]
    assert suffix == "!"
    assert "printed by a cell" in printed


def _inspect(console):
    pid = int(re.search(r"pid=(\d+)", console("import os; print(f'pid={os.getpid()}')"))[1])
    suffix = re.search(r"suffix=(\S+)", console("print('suffix=' + self.suffix)"))[1]
    return pid, suffix, console("print('printed by a cell')")


def test_output_of_the_service_goes_to_its_log_and_output_of_a_cell_to_its_client(deployment, console, tmp_path):
    gate = tmp_path / "gate"

    async def speak_while_a_cell_runs():
        cell = asyncio.create_task(asyncio.to_thread(console, f"print('a cell', await self.hold('{gate}'))"))
        await asyncio.to_thread(until, gate.with_suffix(".held").exists)
        await deployment.Backend.speak("the service speaks")
        gate.touch()
        return await cell

    shown = portal.run(speak_while_a_cell_runs())

    assert "a cell finished" in shown
    assert "the service speaks" not in shown
    assert "Backend[0]: the service speaks" in deployment.logs("Backend").splitlines()
    assert "a cell" not in deployment.logs("Backend")


def test_a_change_made_by_a_cell_takes_effect_for_requests(deployment, console):
    console("self.suffix = '?'")
    try:
        assert deployment.Frontend.say("x").result() == "x?"
    finally:
        console("self.suffix = '!'")


def test_an_error_in_a_cell_does_not_affect_the_service(deployment, console):
    before = pids(deployment)

    assert "ZeroDivisionError" in console("1 / 0")

    assert deployment.Frontend.say("x").result() == "x!"
    assert pids(deployment) == before


def test_the_same_program_serves_without_kernels(module_program):
    words = ["--Backend.ServiceArgs.workers=1"]
    with module_program.serve("program:Frontend", args=words, kernels=False).result() as deployment:
        assert [worker.connection_file for worker in workers(deployment).values()] == [""]
        assert deployment.Frontend.say("x").result() == "x"
