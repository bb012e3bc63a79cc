"""Rollouts without processes: in which order workers are started, built, served and stopped, and what an error undoes."""

import asyncio
from itertools import groupby

import pytest
from toy_deployment import Hang, S, release, serving

from dynamo_nb.errors import DeploymentError, DynamoError, StartError
from dynamo_nb.supervisor.desired import Slot
from dynamo_nb.supervisor.rollout import held_back, release_rank


def lines(log):
    """`start B0 B1`: a step of several workers is one line."""
    return [f"{verb} {' '.join(name for _, name in steps)}" for verb, steps in groupby(log, lambda step: step[0])]


BACKEND, FRONTEND = S(2), S(needs="B")
ON_GPUS = S(2, gpu=1)
TUNED = S(2, reconfigures=True)


@pytest.mark.parametrize(
    ("before", "after", "gpus", "steps"),
    [
        pytest.param(
            {},
            {"B": BACKEND, "F": FRONTEND},
            0,
            ["start B0 B1 F0", "build B0 B1", "serve B0 B1", "build F0", "serve F0"],
            id="the first release is built dependencies first",
        ),
        pytest.param({"B": BACKEND}, {"B": BACKEND}, 0, [], id="an unchanged service is left alone"),
        pytest.param({"B": S(1)}, {"B": S(2)}, 0, ["start B1", "build B1", "serve B1"], id="a service grows"),
        pytest.param({"B": S(3)}, {"B": S(1)}, 0, ["stop B1 B2"], id="a service shrinks"),
        pytest.param(
            {"B": BACKEND, "F": FRONTEND},
            {"B": S(2, "new"), "F": FRONTEND},
            0,
            ["start B0' B1'", "build B0' B1'", "serve B0' B1'", "stop B0 B1"],
            id="new code of one service replaces its workers only",
        ),
        pytest.param(
            {"B": BACKEND, "F": FRONTEND},
            {"B": S(2, "new"), "F": S(1, "new", needs="B")},
            0,
            ["start B0' B1' F0'", "build B0' B1' F0'", "serve B0' B1' F0'", "stop F0 B0 B1"],
            id="replaced services take over together, and dependants stop first",
        ),
        pytest.param(
            {"B": S(2), "F": FRONTEND},
            {"B": S(3, "new"), "F": FRONTEND},
            0,
            ["start B0' B1' B2", "build B0' B1' B2", "serve B0' B1' B2", "stop B0 B1"],
            id="a service grows with new code",
        ),
        pytest.param({"B": BACKEND, "F": S()}, {"F": S()}, 0, ["stop B0 B1"], id="a service is removed"),
        pytest.param(
            {"F": S()},
            {"B": BACKEND, "F": S(1, "new", needs="B")},
            0,
            ["start B0 B1 F0'", "build B0 B1", "serve B0 B1", "build F0'", "serve F0'", "stop F0"],
            id="a new dependency serves before its dependant is built",
        ),
        pytest.param(
            {"B": TUNED},
            {"B": S(2, reconfigures=True, limit=5)},
            0,
            ["reconfigure B0 B1"],
            id="a service that can be reconfigured keeps its workers",
        ),
        pytest.param(
            {"B": TUNED},
            {"B": S(3, reconfigures=True, limit=5)},
            0,
            ["start B2", "build B2", "serve B2", "reconfigure B0 B1"],
            id="a service grows with other configuration",
        ),
        pytest.param(
            {"B": ON_GPUS},
            {"B": S(2, "new", gpu=1)},
            4,
            ["start B0' B1'", "build B0' B1'", "serve B0' B1'", "stop B0 B1"],
            id="with spare GPUs the new workers start beside the old ones",
        ),
        pytest.param(
            {"B": ON_GPUS},
            {"B": S(2, "new", gpu=1)},
            2,
            ["stop B0", "start B0'", "build B0'", "serve B0'", "stop B1", "start B1'", "build B1'", "serve B1'"],
            id="without spare GPUs each worker waits for its predecessor",
        ),
        pytest.param(
            {"B": ON_GPUS},
            {"B": S(2, "new", gpu=1)},
            3,
            ["start B0'", "build B0'", "serve B0'", "stop B1", "start B1'", "build B1'", "serve B1'", "stop B0"],
            id="with one spare GPU only the second worker waits",
        ),
        pytest.param(
            {"B": S(3, gpu=1)},
            {"B": S(1, "new", gpu=2)},
            3,
            ["stop B0 B1", "start B0'", "build B0'", "serve B0'", "stop B2"],
            id="a worker that needs more waits until it has enough",
        ),
        pytest.param(
            {"C": ON_GPUS},
            {"A": S(1, gpu=1), "F": S(needs="A")},
            2,
            ["stop C0", "start A0", "build A0", "serve A0", "start F0", "build F0", "serve F0", "stop C1"],
            id="a service is built after a new one that waits for a GPU",
        ),
        pytest.param(
            {"C": ON_GPUS},
            {"A": S(1, gpu=1), "F": S(2, gpu=0.5, needs="A")},
            2,
            ["stop C0", "start A0", "build A0", "serve A0", "stop C1", "start F0 F1", "build F0 F1", "serve F0 F1"],
            id="two services that depend on each other wait for GPUs, and each worker starts once",
        ),
    ],
)
async def test_the_steps_of_a_rollout(new_controller, before, after, gpus, steps):
    controller, log = new_controller(gpus)
    await controller.apply(release(**before))
    log.clear()

    await controller.apply(release(**after))

    assert lines(log) == steps
    assert len(serving(controller).split()) == sum(service.workers for service in after.values())
    assert controller.rollout() == {}


@pytest.mark.parametrize(
    ("before", "after", "gpus", "fault", "steps", "remaining"),
    [
        pytest.param(
            {"B": BACKEND, "F": FRONTEND},
            {"B": S(2, "new"), "F": FRONTEND},
            0,
            "build B1'",
            ["start B0' B1'", "build B0' B1'", "stop B0' B1'"],
            "B0 B1 F0",
            id="a new worker does not build",
        ),
        pytest.param(
            {"B": BACKEND},
            {"B": S(2, "new")},
            0,
            "start B0'",
            ["start B0' B1'", "build B1'", "stop B0' B1'"],
            "B0 B1",
            id="a new process does not start",
        ),
        pytest.param(
            {"B": BACKEND, "F": FRONTEND},
            {"B": S(2, "new"), "F": S(1, "new", needs="B")},
            0,
            "serve B0'",
            ["start B0' B1' F0'", "build B0' B1' F0'", "serve B0' B1' F0'", "stop B0' B1' F0'"],
            "B0 B1 F0",
            id="a new worker does not serve",
        ),
        pytest.param(
            {"B": ON_GPUS},
            {"B": S(3, "new", gpu=1)},
            2,
            "",
            [],
            "B0 B1",
            id="too few GPUs for the release change nothing",
        ),
        pytest.param(
            {"B": TUNED},
            {"B": S(2, reconfigures=True, limit=5)},
            0,
            "reconfigure B1",
            ["reconfigure B0 B1 B0 B1", "kill B1"],
            "B0",
            id="a worker that takes neither configuration is killed, and the others have the old one",
        ),
        pytest.param(
            {"B": S(1, reconfigures=True, gpu=1), "C": S(1)},
            {"B": S(1, reconfigures=True, gpu=1, limit=5), "C": S(1, "new")},
            1,
            "build C0'",
            ["start C0'", "build C0'", "stop C0'"],
            "B0 C0",
            id="nothing is reconfigured before the new workers are built",
        ),
        pytest.param(
            {"B": ON_GPUS},
            {"B": S(2, "new", gpu=1)},
            2,
            "build B0'",
            ["stop B0", "start B0'", "build B0'", "stop B0'"],
            "B1",
            id="an old worker that made room is restarted",
        ),
        pytest.param(
            {"B": ON_GPUS, "F": FRONTEND},
            {"B": S(2, "new", gpu=1), "F": S(1, "new", needs="B")},
            2,
            "build B1'",
            [
                "start F0'",
                "build F0'",
                "serve F0'",
                "stop B0",
                "start B0'",
                "build B0'",
                "serve B0'",
                "stop B1",
                "start B1'",
                "build B1'",
                "stop F0' B0' B1'",
            ],
            "F0",
            id="a later worker fails after others took over",
        ),
    ],
)
async def test_a_rollout_that_fails_restores_the_old_state(
    new_controller, before, after, gpus, fault, steps, remaining
):
    controller, log = new_controller(gpus, [fault])
    await controller.apply(release(**before))
    served = controller.release
    log.clear()

    with pytest.raises(DynamoError):
        await controller.apply(release(**after))

    assert lines(log) == steps
    assert serving(controller) == remaining
    missing = [Slot(name, index) for name, service in before.items() for index in range(service.workers)]
    missing = [slot for slot in missing if f"{slot.service}{slot.index}" not in remaining.split()]
    assert [lost.slot for lost in controller.registry.lost] == missing, "what is gone is about to be restarted"
    assert len(controller._restarts._tasks) == len(missing)
    assert controller.release is served
    assert controller.rollout() == {}


async def test_a_worker_that_was_lost_in_a_failed_rollout_comes_back_on_its_gpu(new_controller):
    controller, log = new_controller(2, ["build B0'"])
    await controller.apply(release(B=ON_GPUS))
    log.clear()
    with pytest.raises(StartError):
        await controller.apply(release(B=S(2, "new", gpu=1)))

    await asyncio.gather(*controller._restarts._tasks)

    assert lines(log)[-3:] == ["start B0''", "build B0''", "serve B0''"]
    assert {worker.name: worker.gpus for worker in controller.registry.workers} == {"B1": ["1"], "B0''": ["0"]}


async def test_a_cancelled_rollout_is_undone(new_controller):
    hang = Hang()
    controller, log = new_controller(hangs={"build B1'": hang})
    await controller.apply(release(B=BACKEND))
    log.clear()
    change = asyncio.ensure_future(controller.apply(release(B=S(2, "new"))))
    await hang.reached.wait()
    assert {name: (rollout.ready, rollout.desired) for name, rollout in controller.rollout().items()} == {"B": (0, 2)}

    change.cancel()
    with pytest.raises(asyncio.CancelledError):
        await change

    assert lines(log) == ["start B0' B1'", "build B0' B1'", "stop B0' B1'"]
    assert serving(controller) == "B0 B1"


async def test_a_deployment_that_is_stopped_during_a_rollout_says_so_and_leaves_no_worker(new_controller):
    hang = Hang()
    controller, _ = new_controller(hangs={"build B1'": hang})
    await controller.apply(release(B=BACKEND))
    change = asyncio.ensure_future(controller.apply(release(B=S(2, "new"))))
    await hang.reached.wait()

    await controller.stop(grace=0)

    with pytest.raises(DeploymentError, match="the deployment is being stopped"):
        await change
    assert controller.registry.workers == []


async def test_the_port_of_a_service_is_reserved_with_its_workers_and_released_after_them(new_controller):
    controller, _ = new_controller(faults=["build P0"])
    ports = controller.registry.placement.ports

    with pytest.raises(StartError):
        await controller.apply(release(P=S(http=True)))
    assert not ports._held

    await controller.apply(release(Q=S(http=True)))
    assert list(ports._held) == ["Q"]
    await controller.apply(release(B=S()))
    assert not ports._held


@pytest.mark.parametrize(
    ("services", "lacking", "held"),
    [
        ({"A": S(), "B": S(needs="A"), "C": S(needs="B")}, [], ""),
        ({"A": S(), "B": S(needs="A"), "C": S(needs="B")}, ["A"], "BC"),
        ({"A": S(), "B": S(needs="A"), "C": S(needs="B")}, ["B"], "C"),
        ({"A": S(), "B": S(), "C": S(needs="AB")}, ["B"], "C"),
        ({"A": S(), "B": S(needs="A"), "C": S()}, ["A"], "B"),
    ],
)
def test_a_service_is_held_back_by_what_it_needs(services, lacking, held):
    spec = release(**services).spec
    assert held_back(spec, services, lacking) == set(held)


@pytest.mark.parametrize(
    ("slot", "order"),
    [
        (Slot("B", 0), "B0 B2 C0 B1"),
        (Slot("B", 1), "B1 B2 C0 B0"),
        (Slot("A", 0), "B2 C0 B0 B1"),
    ],
)
def test_workers_without_a_successor_give_up_their_gpus_before_others(slot, order):
    spec = release(A=S(1, gpu=1), B=S(2, gpu=1)).spec
    holders = [Slot("B", 0), Slot("B", 1), Slot("B", 2), Slot("C", 0)]
    ranked = sorted(holders, key=lambda holder: release_rank(holder, slot, spec))
    assert " ".join(f"{holder.service}{holder.index}" for holder in ranked) == order
