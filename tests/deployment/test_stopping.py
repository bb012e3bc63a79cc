"""Stopping a deployment: requests in flight are finished, and each shutdown hook runs once."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress

import httpx
import psutil
import pytest
from deployed_program import alive, folders, pids, until

from dynamo_nb.control.client import ask
from dynamo_nb.control.record import records
from dynamo_nb.errors import DeploymentError, DynamoError, RequestError
from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow
BOUND = 30.0


@pytest.fixture
def gate(tmp_path):
    """A file that ends the request that waits for it. `gate.held` exists once the request has begun."""
    return tmp_path / "gate"


@pytest.fixture
def notes(tmp_path):
    return tmp_path / "notes"


@pytest.fixture
def deployment(program, notes):
    return program.serve("program:Frontend", args=[f"--Backend.notes={notes}"]).result()


def shutdowns(notes):
    return sorted(int(line.split()[1]) for line in notes.read_text().splitlines() if line.startswith("shutdown"))


@pytest.mark.parametrize("way", ["stop", "SIGTERM"])
def test_requests_in_flight_are_finished_before_each_shutdown_hook_runs_once(deployment, dynamo_home, notes, gate, way):
    backend, supervisor = pids(deployment), deployment.status.pid

    async def stop():
        holding = asyncio.ensure_future(_wait(deployment.Frontend.hold(str(gate))))
        await asyncio.to_thread(until, gate.with_suffix(".held").exists)
        if way == "stop":
            stopping = asyncio.ensure_future(deployment.stop())
        else:
            os.kill(supervisor, signal.SIGTERM)
            stopping = None
        await asyncio.to_thread(until, lambda: deployment.status.services["Frontend"].state == "draining")
        assert shutdowns(notes) == []
        gate.touch()
        if stopping is not None:
            await stopping
        return await holding

    assert portal.run(stop()) == "finished"
    until(lambda: deployment.ended and not alive(supervisor))
    assert shutdowns(notes) == sorted(backend)
    assert folders(dynamo_home) == []


async def _wait(call):
    return await call


def test_a_replaced_worker_finishes_its_requests(deployment, notes, gate):
    before = pids(deployment)

    async def replace():
        holding = asyncio.ensure_future(_wait(deployment.Backend.hold(str(gate))))
        await asyncio.to_thread(until, gate.with_suffix(".held").exists)
        update = asyncio.ensure_future(deployment.update({"Backend.suffix": "!"}))
        await asyncio.to_thread(until, lambda: len(pids(deployment)) == 2 and not set(pids(deployment)) & set(before))
        async with asyncio.timeout(BOUND):  # the old workers take calls until they drain
            while await deployment.Backend.say("new") != "new!":
                pass
        gate.touch()
        await update
        return await holding

    with deployment:
        assert portal.run(replace()) == "finished"
        assert shutdowns(notes) == sorted(before)


def test_a_worker_that_does_not_stop_within_the_grace_is_killed(program, gate):
    deployment = program.serve("program:Frontend", grace=0.5).result()
    before = pids(deployment)

    async def stop():
        blocked = asyncio.ensure_future(_wait(deployment.Backend.block(str(gate))))
        await asyncio.to_thread(until, gate.with_suffix(".held").exists)
        await deployment.stop()
        with pytest.raises(RequestError):
            await blocked

    portal.run(stop())
    assert not any(map(alive, before))


@pytest.mark.parametrize("kernels", [False, True])
def test_a_worker_that_receives_sigterm_is_replaced_at_once_and_finishes_its_requests(program, gate, kernels):
    with program.serve("program:Frontend", kernels=kernels).result() as deployment:

        async def terminate():
            holding = asyncio.ensure_future(_wait(deployment.Backend.hold(str(gate))))
            await asyncio.to_thread(until, gate.with_suffix(".held").exists)
            before = pids(deployment)
            for pid in before:
                os.kill(pid, signal.SIGTERM)
            await asyncio.to_thread(
                until, lambda: len(pids(deployment)) == 2 and not set(pids(deployment)) & set(before)
            )
            new = {await deployment.Backend.pid() for _ in range(4)}
            assert not new & set(before)
            assert not holding.done()
            gate.touch()
            return before, await holding

        before, held = portal.run(terminate(), timeout=60)
        assert held == "finished"
        until(lambda: not any(map(alive, before)))
        assert len(pids(deployment)) == 2


def test_a_worker_that_receives_sigterm_is_killed_when_its_grace_is_over(program, gate):
    with program.serve("program:Frontend", grace=1).result() as deployment:

        async def terminate():
            holding = asyncio.ensure_future(_wait(deployment.Backend.hold(str(gate))))
            await asyncio.to_thread(until, gate.with_suffix(".held").exists)
            before = pids(deployment)
            for pid in before:
                os.kill(pid, signal.SIGTERM)
            await asyncio.to_thread(until, lambda: not any(map(alive, before)))
            gate.touch()
            with suppress(RequestError):
                await holding

        portal.run(terminate(), timeout=60)
        log = (deployment.folder / "logs" / "supervisor.log").read_text()
        assert log.count("received SIGTERM and did not finish its requests within 1 s") == 1


def test_the_children_of_a_worker_end_with_it(deployment):
    children = deployment.Backend.start_children().result()
    assert all(map(alive, children))

    deployment.stop().result()

    assert not any(map(alive, children))


@pytest.mark.parametrize("way", ["cancelled", "stopped"])
def test_a_deployment_that_ends_while_its_first_kernel_starts_leaves_no_process(program, dynamo_home, way):
    async def end():
        serving = asyncio.ensure_future(program.serve("program:Frontend", kernels=True))
        # The file is written just before the worker is forked.
        await asyncio.to_thread(until, lambda: list(dynamo_home.glob("*/kernels/*.json")))
        (record,) = records()
        if way == "stopped":
            await ask(record.control, "stop")
        else:
            serving.cancel()
        await asyncio.wait([serving])
        if way == "stopped":
            with pytest.raises(DeploymentError, match="the deployment is being stopped"):
                await serving
        assert way == "stopped" or serving.cancelled()
        await asyncio.wait_for(record.supervisor.ended(), BOUND)

    asyncio.run(end())
    assert folders(dynamo_home) == []


def test_stopping_during_a_restart_leaves_no_process(deployment):
    supervisor = psutil.Process(deployment.status.pid)
    with deployment:
        for pid in pids(deployment):
            os.kill(pid, signal.SIGKILL)

    until(lambda: not supervisor.is_running())


def test_stopping_before_new_workers_are_started_leaves_no_process(program, dynamo_home):
    deployment = program.serve("program:Frontend", kernels=True).result()

    async def stop():
        scaling = asyncio.ensure_future(deployment.scale(Backend=8))
        await asyncio.sleep(0)  # the request is sent
        await deployment.stop()
        await asyncio.wait([scaling])
        return scaling.exception()

    assert isinstance(portal.run(stop(), BOUND), DynamoError)
    assert folders(dynamo_home) == []


@pytest.mark.parametrize("end", ["", "raise SystemExit('the message of the script')"])
def test_a_script_that_ends_without_stopping_leaves_and_prints_nothing(program, dynamo_home, end):
    begin = "from program import Frontend\n\nfrom dynamo_nb import serve\n\n"
    serve = "deployment = serve(Frontend, http_port=0, kernels=False).result()\ndeployment.Frontend.pid().result()\n"
    program.write("script.py", begin + serve + end)

    ended = subprocess.run([sys.executable, "script.py"], cwd=program.folder, capture_output=True, text=True)

    assert ended.stdout == ""
    assert ended.stderr.strip() == ("the message of the script" if end else "")
    until(lambda: not folders(dynamo_home))


STREAMING = """
import asyncio
from pathlib import Path

from dynamo_nb import async_on_shutdown, dynamo_api, service


@service
class Streaming:
    def __init__(self, seconds: float = 0.0, notes: str = ""):
        self.seconds, self.notes = seconds, notes

    @async_on_shutdown
    async def release(self):
        Path(self.notes).write_text("released")

    @dynamo_api(http_method="GET")
    async def items(self):
        end = asyncio.get_running_loop().time() + self.seconds
        while asyncio.get_running_loop().time() < end:
            yield "item\\n"
            await asyncio.sleep(0.1)
        yield "last\\n"
"""


def test_a_stream_over_http_has_the_same_grace_as_other_requests(project, tmp_path):
    project.write("streaming.py", STREAMING)
    args = ["--Streaming.seconds=7", f"--Streaming.notes={tmp_path / 'notes'}"]
    with project.serve("streaming:Streaming", args=args).result() as deployment:
        (worker,) = deployment.status.services["Streaming"].workers
        with httpx.stream("GET", f"{deployment.urls['Streaming']}/items", timeout=BOUND) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "item"
            deployment.restart("Streaming").result()
            (new,) = deployment.status.services["Streaming"].workers
            assert new.pid != worker.pid
            assert list(lines)[-1] == "last"


def test_a_stream_over_http_that_never_ends_leaves_time_for_the_shutdown_hooks(project, tmp_path):
    project.write("streaming.py", STREAMING)
    args = ["--Streaming.seconds=1e9", f"--Streaming.notes={tmp_path / 'notes'}"]
    deployment = project.serve("streaming:Streaming", args=args, grace=2).result()
    with httpx.stream("GET", f"{deployment.urls['Streaming']}/items", timeout=BOUND) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "item"
        deployment.stop().result()
        with suppress(httpx.HTTPError):  # the connection may be closed in the middle of an item
            assert "last" not in list(lines)
    assert (tmp_path / "notes").read_text() == "released"
