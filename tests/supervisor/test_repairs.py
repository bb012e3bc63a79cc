"""Repairs: a worker that ends by itself is started again, whatever else the supervisor does or fails to do meanwhile."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest
from toy_deployment import Hang, S, release, serving, until

from dynamo_nb.errors import DynamoError, StartError


def apply(**services):
    return lambda controller: controller.apply(release(**services))


async def killed_and_replaced(controller, name):
    """Ends a worker as if it had been killed, and waits until another one of the same code serves in its slot."""
    victim = next(worker for worker in controller.registry.workers if worker.name == name)
    victim.end("failed")
    await until(
        controller,
        lambda: any(
            worker.slot == victim.slot and worker.fingerprint == victim.fingerprint and worker.state == "ready"
            for worker in controller.registry.workers
        ),
    )


def complete(controller):
    """True if exactly the workers of the desired state serve, each with its code and configuration."""
    registry = controller.registry
    slots = Counter(worker.slot for worker in registry.workers)
    spec = registry.desired.spec if registry.desired is not None else None
    return (
        not registry.lost
        and all(count == 1 for count in slots.values())
        and len(slots) == sum(service.workers for service in (spec.started.values() if spec else ()))
        and all(worker.state == "ready" and worker.role == "current" for worker in registry.workers)
        and all(worker.fingerprint == spec.fingerprint(worker.service) for worker in registry.workers)
    )


ONE = S()
TUNED, OTHERWISE_TUNED = S(2, reconfigures=True), S(2, reconfigures=True, limit=5)
ON_GPU = S(1, gpu=1)


@pytest.mark.parametrize("end", ["succeeds", "is cancelled"])
@pytest.mark.parametrize(
    ("before", "change", "gpus", "hang", "victim"),
    [
        pytest.param({"A": ONE, "B": ONE}, apply(A=S(2), B=ONE), 0, "build A1", "B0", id="another service grows"),
        pytest.param(
            {"A": ONE, "B": ONE}, apply(A=S(1, "new"), B=ONE), 0, "build A0'", "B0", id="another service has new code"
        ),
        pytest.param(
            {"B": ONE}, apply(A=ONE, B=ONE), 0, "start A0", "B0", id="the process of a new service does not start"
        ),
        pytest.param(
            {"A": ONE, "B": ONE}, lambda c: c.restart("A"), 0, "serve A0'", "B0", id="another service is restarted"
        ),
        pytest.param({"A": S(2), "B": ONE}, lambda c: c.scale({"A": 1}), 0, "stop A1", "B0", id="an old worker drains"),
        pytest.param({"A": ONE, "B": ONE}, apply(B=ONE), 0, "stop A0", "B0", id="a removed service drains"),
        pytest.param(
            {"A": TUNED, "B": ONE},
            apply(A=OTHERWISE_TUNED, B=ONE),
            0,
            "reconfigure A1",
            "B0",
            id="another service is reconfigured",
        ),
        pytest.param(
            {"A": ON_GPU, "B": ON_GPU},
            apply(A=S(1, "new", gpu=1), B=ON_GPU),
            2,
            "stop A0",
            "B0",
            id="a new worker waits for a GPU",
        ),
        pytest.param({"B": ONE}, apply(B=S(2)), 0, "build B1", "B0", id="its own service grows"),
        pytest.param({"B": ONE}, apply(B=S(1, "new")), 0, "build B0'", "B0", id="its own service has new code"),
        pytest.param({"B": S(2)}, lambda c: c.restart("B"), 0, "serve B1'", "B0", id="its own service is restarted"),
        pytest.param(
            {"A": ONE, "B": TUNED},
            apply(A=S(1, "new"), B=OTHERWISE_TUNED),
            0,
            "build A0'",
            "B0",
            id="it is about to be reconfigured",
        ),
        pytest.param(
            {"B": S(2), "C": ONE}, lambda c: c.scale({"B": 1, "C": 2}), 0, "build C1", "B1", id="it is about to stop"
        ),
        pytest.param({}, apply(B=ONE, A=ONE), 0, "build A0", "B0", id="the first release starts"),
        pytest.param(
            {"A": ONE}, apply(A=ONE, B=ONE, C=ONE), 0, "build C0", "B0", id="it is new, and another new one starts"
        ),
        pytest.param({"B": ONE}, apply(B=S(1, "new")), 0, "stop B0", "B0'", id="it is new, and its predecessor drains"),
    ],
)
async def test_a_worker_is_started_again_while_a_change_hangs(new_controller, before, change, gpus, hang, victim, end):
    stuck = Hang()
    controller, _ = new_controller(gpus, hangs={hang: stuck})
    if before:
        await controller.apply(release(**before))
    changing = asyncio.ensure_future(change(controller))
    await stuck.reached.wait()

    try:
        await killed_and_replaced(controller, victim)
    finally:
        if end == "is cancelled":
            changing.cancel()
        await asyncio.sleep(0)  # the change is asked to end before the step that hangs goes on
        stuck.released.set()

    with suppress(asyncio.CancelledError):
        await changing
    await until(controller, lambda: complete(controller))


@pytest.mark.parametrize("first", ["start A0'", "build A0'", "serve A0'"])
async def test_the_repair_of_one_worker_does_not_wait_for_that_of_another(new_controller, first):
    stuck = Hang()
    controller, _ = new_controller(hangs={first: stuck})
    await controller.apply(release(A=ONE, B=ONE))
    next(worker for worker in controller.registry.workers if worker.name == "A0").end("failed")
    await stuck.reached.wait()

    try:
        await killed_and_replaced(controller, "B0")
    finally:
        stuck.released.set()

    await until(controller, lambda: complete(controller))


async def test_a_worker_restarted_with_the_configuration_before_a_change_is_replaced(new_controller):
    restarting = Hang()
    controller, _ = new_controller(hangs={"build B0'": restarting})
    await controller.apply(release(B=TUNED))
    next(worker for worker in controller.registry.workers if worker.name == "B0").end("failed")
    await restarting.reached.wait()

    await controller.apply(release(B=OTHERWISE_TUNED))
    restarting.released.set()

    await until(controller, lambda: complete(controller))
    assert serving(controller) == "B1 B0''"


async def test_a_change_that_hangs_and_fails_restarts_each_worker_once(new_controller):
    stuck = Hang()
    controller, log = new_controller(2, ["serve B0'"], hangs={"build B0'": stuck})
    await controller.apply(release(B=S(2, gpu=1)))
    changing = asyncio.ensure_future(controller.apply(release(B=S(2, "new", gpu=1))))
    await stuck.reached.wait()  # B0 was stopped for its GPU
    await killed_and_replaced(controller, "B1")
    stuck.released.set()
    with suppress(DynamoError):
        await changing

    await until(controller, lambda: complete(controller))

    assert serving(controller) == "B1' B0''"
    assert [verb for verb, name in log if name.startswith("B0''")] == ["start", "build", "serve"]


@pytest.mark.parametrize("step", ["start", "build", "serve"])
@pytest.mark.parametrize("error", [StartError, OSError, BlockingIOError, MemoryError, EOFError, RuntimeError])
async def test_a_repair_that_fails_is_tried_again_whatever_the_error(new_controller, step, error):
    controller, _ = new_controller(faults={f"{step} B0'": error})
    await controller.apply(release(B=ONE))

    await killed_and_replaced(controller, "B0")

    await until(controller, lambda: complete(controller))
    assert serving(controller) == "B0''"


@pytest.mark.parametrize("step", ["start", "build"])
@pytest.mark.parametrize("failing", ["a restart", "a change"])
async def test_a_worker_that_cannot_be_started_leaves_its_gpu_to_its_slot(new_controller, step, failing):
    stuck = Hang()
    controller, _ = new_controller(1, {f"{step} B0'": OSError}, hangs={"build B0''": stuck})
    gpus = controller.registry.placement.gpus
    await controller.apply(release(B=ON_GPU))
    next(worker for worker in controller.registry.workers if worker.name == "B0").end("failed")
    if failing == "a change":
        with suppress(OSError):
            await controller.apply(release(B=S(1, "new", gpu=1)))

    while not stuck.reached.is_set():
        assert gpus.held == ("0",), "another deployment could take it"
        await asyncio.sleep(0)

    stuck.released.set()
    await until(controller, lambda: complete(controller))
    assert sum(gpus.share_of(worker.id) for worker in controller.registry.workers) == 1
