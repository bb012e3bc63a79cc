"""Ports and GPUs that another deployment holds while it ends, or for longer."""

import asyncio
import fcntl
import socket
import subprocess
from contextlib import contextmanager

import pytest
from toy_deployment import S, release, serving, until

from dynamo_nb.control import state_dir
from dynamo_nb.control.processes import ProcessId
from dynamo_nb.control.record import Record
from dynamo_nb.errors import DeploymentError, PlacementError


@pytest.fixture
def process():
    """Starts processes, as those of another deployment."""
    started = []

    def start():
        started.append(subprocess.Popen(["sleep", "1000"]))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()


def alive(process):
    return ProcessId.of(process().pid)


def dead(process):
    started = process()
    found = ProcessId.of(started.pid)
    started.kill()
    started.wait()
    return found


ENDING = {
    "its owner has ended": lambda p: {"supervisor": alive(p), "owner": dead(p)},
    "it is being stopped": lambda p: {"supervisor": alive(p), "owner": alive(p), "stopping": True},
    "a detached one is being stopped": lambda p: {"supervisor": alive(p), "owner": None, "stopping": True},
    "its supervisor was killed": lambda p: {"supervisor": dead(p), "owner": alive(p), "processes": (alive(p),)},
}
GOING_ON = {
    "its owner lives": lambda p: {"supervisor": alive(p), "owner": alive(p)},
    "it is detached": lambda p: {"supervisor": alive(p), "owner": None},
    "nothing of it is left": lambda p: {"supervisor": dead(p), "owner": dead(p), "processes": (dead(p),)},
}


@contextmanager
def a_port(**_):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield {"ports": (server.getsockname()[1],)}


@contextmanager
def a_gpu(locks, **_):
    locks.mkdir(exist_ok=True)
    with (locks / "0").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield {"gpus": ("0",)}


def first_port(controller, holds):
    controller.registry.placement.ports.first, controller.registry.placement.ports.required = holds["ports"][0], False
    return release(B=S(http=True))


def required_port(controller, holds):
    controller.registry.placement.ports.first = holds["ports"][0]
    return release(B=S(http=True))


def configured_port(controller, holds):
    controller.registry.placement.ports.required = False
    return release(B=S(http=True, port=holds["ports"][0]))


def gpu(controller, holds):
    return release(A=S(), B=S(gpu=1))


NEEDS = {
    "the first port": (a_port, first_port),
    "a required port": (a_port, required_port),
    "a configured port": (a_port, configured_port),
    "a GPU": (a_gpu, gpu),
}


@pytest.fixture
def record(dynamo_home):
    def write(**values):
        folder = state_dir.new_folder("other")
        found = Record(id=folder.name, name="other", folder=folder, started=0.0, **values)
        found.write()
        return found

    return write


@pytest.mark.parametrize("ends", ENDING)
@pytest.mark.parametrize("needs", NEEDS)
async def test_what_an_ending_deployment_holds_is_waited_for(new_controller, record, process, tmp_path, needs, ends):
    controller, _ = new_controller(1)
    hold, need = NEEDS[needs]
    ending = controller.registry.placement.ending
    with hold(locks=tmp_path / "locks") as holds:
        other = record(**ENDING[ends](process), **holds)
        changing = asyncio.ensure_future(controller.apply(need(controller, holds)))
        await until(controller, lambda: ending.waiting)
        assert ending.waiting.startswith(f"waiting for {other.id}, which ends: ")
        assert not controller.registry.workers
        assert "B" in controller.rollout(), "so that progress can be shown"
    state_dir.remove(other.folder)
    await changing

    assert "B0" in serving(controller)
    assert ending.waiting == ""
    assert controller.registry.placement.warnings[-1].endswith(f"s for {other.id}, which ends")
    assert controller.registry.placement.ports.held == holds.get("ports", ())


@pytest.mark.parametrize("state", GOING_ON)
@pytest.mark.parametrize("needs", ["a required port", "a GPU"])
async def test_what_another_deployment_holds_is_an_error_that_names_it(
    new_controller, record, process, tmp_path, needs, state
):
    controller, _ = new_controller(1)
    hold, need = NEEDS[needs]
    with hold(locks=tmp_path / "locks") as holds:
        other = record(**GOING_ON[state](process), **holds)
        with pytest.raises(PlacementError) as error:
            await controller.apply(need(controller, holds))

    assert f"the deployment {other.id}" in f"{error.value.what} {error.value.where}"
    assert controller.registry.workers == []


@pytest.mark.parametrize("end", ["stopped", "cancelled"])
async def test_a_change_that_waits_ends_when_it_is(new_controller, record, process, end):
    controller, _ = new_controller()
    with a_port() as holds:
        record(**ENDING["it is being stopped"](process), **holds)
        changing = asyncio.ensure_future(controller.apply(required_port(controller, holds)))
        await until(controller, lambda: controller.registry.placement.ending.waiting)
        if end == "cancelled":
            changing.cancel()
        else:
            await controller.stop(0)
        with pytest.raises(asyncio.CancelledError if end == "cancelled" else DeploymentError):
            await changing

    assert controller.registry.workers == []
    assert controller.registry.placement.ending.waiting == ""
