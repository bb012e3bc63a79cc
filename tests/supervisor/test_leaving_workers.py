"""Workers that take no more requests and have not ended: another one takes their place at once, where there is a GPU."""

import asyncio

import pytest
from toy_deployment import S, release, serving, until

from dynamo_nb.control.worker_messages import Draining
from dynamo_nb.errors import PlacementError, StartError


def receives_sigterm(worker):
    worker._reported(Draining())


def is_unhealthy(worker):
    worker._fail(StartError(f"{worker.name} does not answer"))


LEAVES = pytest.mark.parametrize("leaves", [receives_sigterm, is_unhealthy], ids=["SIGTERM", "unhealthy"])


def named(controller, name):
    return next(worker for worker in controller.registry.workers if worker.name == name)


def used(controller):
    """The share of each GPU that is allocated."""
    gpus = controller.registry.placement.gpus
    return [sum(gpus._used.get(gpu.id, {}).values()) for gpu in gpus.read().gpus]


async def leave(controller, leaves, name="B0"):
    worker = named(controller, name)
    worker.grace = 1000.0
    leaves(worker)
    return worker


async def end(worker):
    """Its process ends, after its last request."""
    worker.end("failed" if worker.state == "failed" else "stopped")
    if worker._draining is not None:
        await worker._draining


@LEAVES
@pytest.mark.parametrize(
    ("service", "gpus", "during", "after"),
    [
        pytest.param(S(1), 0, [], [], id="no GPU"),
        pytest.param(S(3), 0, [], [], id="three workers"),
        pytest.param(S(1, gpu=1), 2, [1, 1], [0, 1], id="another GPU"),
        pytest.param(S(1, gpu=0.5), 1, [1], [0.5], id="another half of its GPU"),
        pytest.param(S(2, gpu=1), 3, [1, 1, 1], [0, 1, 1], id="a third GPU"),
    ],
)
async def test_another_worker_serves_before_it_has_ended(new_controller, leaves, service, gpus, during, after):
    controller, _ = new_controller(gpus)
    await controller.apply(release(B=service))

    old = await leave(controller, leaves)
    await until(controller, lambda: len(serving(controller).split()) == service.workers)
    assert not old.gone.is_set()
    assert used(controller) == during

    await end(old)
    await asyncio.sleep(0)
    assert old not in controller.registry.workers
    assert not controller.registry.lost
    assert used(controller) == after
    assert len(controller.registry.workers) == service.workers


@LEAVES
async def test_it_keeps_its_gpu_until_it_has_ended(new_controller, leaves):
    controller, log = new_controller(1)
    await controller.apply(release(A=S(), B=S(gpu=1)))

    old = await leave(controller, leaves)
    await leave(controller, leaves, "A0")
    await until(controller, lambda: serving(controller) == "A0'")  # B0, which left before, would be replaced too
    assert used(controller) == [1]
    assert ("start", "B0'") not in log

    await end(old)
    await until(controller, lambda: serving(controller) == "A0' B0'")
    assert named(controller, "B0'").gpus == old.gpus
    assert used(controller) == [1]


@LEAVES
async def test_a_new_release_takes_its_gpu_when_it_has_ended(new_controller, leaves):
    controller, log = new_controller(1)
    await controller.apply(release(B=S(gpu=1)))
    await leave(controller, leaves)

    await controller.apply(release(B=S(code="new", gpu=1)))

    assert ("stop", "B0") in log
    assert len(serving(controller).split()) == 1
    assert used(controller) == [1]
    assert not controller.registry.lost
    (worker,) = controller.registry.workers
    assert worker.fingerprint == controller.registry.desired.spec.fingerprint("B")


@LEAVES
async def test_a_change_without_room_for_its_gpus_is_refused(new_controller, leaves):
    controller, _ = new_controller(1)
    await controller.apply(release(B=S(gpu=1)))
    old = await leave(controller, leaves)

    with pytest.raises(PlacementError):
        await controller.scale({"B": 3})

    await end(old)
    await until(controller, lambda: len(serving(controller).split()) == 1)
    assert used(controller) == [1]


@LEAVES
async def test_it_is_not_replaced_when_its_service_is_scaled_to_none(new_controller, leaves):
    controller, _ = new_controller(1)
    await controller.apply(release(A=S(), B=S(gpu=1)))
    old = await leave(controller, leaves)

    await controller.scale({"B": 0})
    await end(old)
    await until_restarts_end(controller)

    assert serving(controller) == "A0"
    assert used(controller) == [0]
    assert not controller.registry.lost


async def until_restarts_end(controller):
    if controller._restarts._tasks:
        await asyncio.wait(controller._restarts._tasks, timeout=5)
    assert not controller._restarts._tasks


@LEAVES
@pytest.mark.parametrize("first", ["the old one", "the new one"])
async def test_its_place_is_taken_once_whichever_ends_first(new_controller, leaves, first):
    controller, _ = new_controller()
    await controller.apply(release(B=S()))
    old = await leave(controller, leaves)
    await until(controller, lambda: serving(controller) == "B0'")

    new = named(controller, "B0'")
    for worker in [old, new] if first == "the old one" else [new, old]:
        worker.end("failed")
    await until(controller, lambda: serving(controller) == "B0''")
    await asyncio.sleep(0)

    assert [worker.name for worker in controller.registry.workers] == ["B0''"]
    assert not controller.registry.lost


async def test_it_is_killed_when_its_grace_is_over(new_controller, capsys):
    controller, log = new_controller()
    await controller.apply(release(B=S()))
    old = named(controller, "B0")
    old.grace = 0.01

    receives_sigterm(old)
    await old.gone.wait()

    assert ("kill", "B0") in log
    assert "received SIGTERM and did not finish its requests within 0.01 s" in capsys.readouterr().out
    await until(controller, lambda: serving(controller) == "B0'")
