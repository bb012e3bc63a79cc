"""Scaling, updating and restarting a deployment: only what differs changes."""

import asyncio
import os
import signal

import psutil
import pytest
from deployed_program import alive, pids, until, workers

from dynamo_nb.control.client import ask
from dynamo_nb.control.state_dir import CONTROL
from dynamo_nb.errors import DeploymentError, NoInstances, PlacementError, StartError
from dynamo_nb.sdk.portal import portal


def test_scaling_adds_and_removes_workers_and_keeps_the_others(deployment):
    backend, frontend = pids(deployment), pids(deployment, "Frontend")

    deployment.scale(Backend=3).result()

    grown = pids(deployment)
    assert grown[:2] == backend
    assert {deployment.Backend.pid().result() for _ in range(6)} == set(grown)

    deployment.scale(Backend=2).result()

    assert pids(deployment) == backend
    assert not alive(grown[2])
    assert pids(deployment, "Frontend") == frontend


def test_an_update_replaces_only_the_service_whose_configuration_changed(deployment):
    backend, frontend = pids(deployment), pids(deployment, "Frontend")

    deployment.update({"Backend.suffix": "!"}).result()

    assert deployment.Frontend.say("hello").result() == "hello!"
    assert not set(pids(deployment)) & set(backend)
    assert not any(map(alive, backend))
    assert pids(deployment, "Frontend") == frontend


def test_the_client_of_a_service_is_made_once_for_each_plan(deployment):
    client = deployment.Backend
    assert deployment.Backend is deployment["Backend"] is client

    deployment.update().result()

    assert deployment.Backend is not client
    assert client.say("old client").result().startswith("old client")


def test_an_update_that_changes_nothing_replaces_nothing(deployment):
    before = pids(deployment)

    deployment.update().result()

    assert pids(deployment) == before


def test_a_service_stays_scaled_over_an_update_until_its_number_of_workers_changes(deployment):
    deployment.scale(Backend=1).result()

    deployment.update({"Backend.suffix": "?"}).result()
    assert len(pids(deployment)) == deployment.spec.services["Backend"].workers == 1

    deployment.update({"Backend.ServiceArgs.workers": 3}).result()
    assert len(pids(deployment)) == 3
    deployment.update({"Backend.ServiceArgs.workers": 2}).result()


def test_a_service_can_be_scaled_to_zero_and_back(deployment):
    deployment.scale(Backend=0).result()
    assert deployment.status.services["Backend"].state == "stopped"

    deployment.scale(Backend=2).result()
    assert deployment.Frontend.say("back").result().startswith("back")


def test_a_call_of_a_service_scaled_to_zero_says_that_it_has_no_workers(deployment):
    deployment.scale(Backend=0).result()

    with pytest.raises(NoInstances, match=r"(?s)Backend has 0 workers.*deployment\.scale\(Backend=1\)"):
        deployment.Backend.say("anyone").result()

    deployment.scale(Backend=2).result()


def test_a_restart_replaces_the_workers_by_new_ones_of_the_same_version(deployment):
    before = pids(deployment)

    deployment.restart("Backend").result()

    assert len(pids(deployment)) == 2
    assert not set(pids(deployment)) & set(before)


def test_an_invalid_change_is_rejected_and_changes_nothing(deployment):
    before = pids(deployment)

    with pytest.raises(DeploymentError, match="Backnd is not running here"):
        deployment.scale(Backnd=3).result()
    with pytest.raises(DeploymentError, match="cannot have -1 workers"):
        deployment.scale(Backend=-1).result()
    with pytest.raises(DeploymentError, match="Frontend cannot have '2' workers\n  hint: use a whole number"):
        deployment.scale(Backend=3, Frontend="2").result()
    with pytest.raises(PlacementError, match=r"Backend cannot have 1,000,000 workers .*\n  hint: ask for"):
        deployment.scale(Backend=10**6).result(10)
    with pytest.raises(PlacementError, match="Backend cannot have 1,000,000 workers"):
        deployment.update({"Backend.ServiceArgs.workers": 10**6}).result(10)
    with pytest.raises(DeploymentError, match="Backnd is not running here"):
        deployment.restart("Backnd").result()

    assert pids(deployment) == before


def test_no_request_fails_while_a_service_is_replaced(deployment):
    async def load(suffixes):
        answers = []
        updated = asyncio.ensure_future(_update(deployment, suffixes))
        while not updated.done():
            answers += await asyncio.gather(*(deployment.Frontend.say("x") for _ in range(8)))
        await updated
        return answers

    answers = portal.run(load("abc"))

    assert {answer[0] for answer in answers} == {"x"}
    assert deployment.Frontend.say("x").result() == "xc"


async def _update(deployment, suffixes):
    for suffix in suffixes:
        await deployment.update({"Backend.suffix": suffix})


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("start", "RuntimeError: no weights here"),
        ("init", "ValueError: no suffix will do"),
        ("exit", "exit code 3"),
    ],
)
def test_a_new_version_that_does_not_start_leaves_the_old_one_serving(deployment, fault, message):
    before, spec = (pids(deployment), pids(deployment, "Frontend")), deployment.spec
    suffix = deployment.Frontend.say("").result()

    with pytest.raises(StartError, match=message):
        deployment.update({"Backend.fault": fault, "Backend.suffix": "broken"}).result()

    assert (pids(deployment), pids(deployment, "Frontend")) == before
    assert deployment.spec == spec
    assert deployment.Frontend.say("").result() == suffix


def test_an_interrupted_update_is_undone(deployment, tmp_path):
    before, spec, notes = pids(deployment), deployment.spec, tmp_path / "notes"

    async def interrupted():
        update = asyncio.ensure_future(deployment.update({"Backend.fault": "never", "Backend.notes": str(notes)}))
        await asyncio.to_thread(until, notes.exists)
        update.cancel()
        await asyncio.wait([update])
        return update.cancelled()

    assert portal.run(interrupted())
    assert deployment.spec == spec
    until(lambda: pids(deployment) == before and len(deployment.status.services["Backend"].workers) == 2)
    assert not any(alive(int(line.split()[1])) for line in notes.read_text().splitlines())


def test_an_old_worker_that_dies_while_its_successor_fails_is_restarted(deployment, tmp_path):
    deployment.scale(Backend=1).result()
    (old,), spec, notes = pids(deployment), deployment.spec, tmp_path / "notes"

    async def failing():
        update = asyncio.ensure_future(deployment.update({"Backend.fault": "never", "Backend.notes": str(notes)}))
        _, successor = await asyncio.to_thread(until, lambda: notes.exists() and notes.read_text().split())
        os.kill(old, signal.SIGKILL)
        await asyncio.to_thread(until, lambda: not alive(old))
        successor = int(successor)
        os.kill(successor, signal.SIGKILL)
        with pytest.raises(StartError, match="killed by signal 9"):
            await update
        return successor

    successor = portal.run(failing())
    (restarted,) = until(lambda: pids(deployment))
    assert restarted not in {old, successor}
    assert deployment.spec == spec
    assert deployment.Frontend.say("still").result().startswith("still")
    deployment.scale(Backend=2).result()


def test_a_scaling_during_an_update_keeps_the_new_version(deployment):
    async def both():
        update = asyncio.ensure_future(deployment.update({"Backend.suffix": "~new"}))
        until_started = asyncio.to_thread(until, lambda: len(deployment.status.services["Backend"].workers) == 4)
        await until_started
        await deployment.scale(Backend=3)
        await update

    portal.run(both())

    assert {deployment.Backend.say("").result() for _ in range(6)} == {"~new"}
    assert len(pids(deployment)) == 3
    deployment.scale(Backend=2).result()


def test_a_killed_worker_is_restarted_while_calls_go_on_and_leaves_no_child(deployment):
    deployment.scale(Backend=1).result()
    (lost,) = workers(deployment).values()
    children = deployment.Backend.start_children().result()
    assert all(map(alive, children))

    os.kill(lost.pid, signal.SIGKILL)

    assert deployment.Frontend.say("still here").result().startswith("still here")
    (found,) = until(lambda: [w for w in workers(deployment).values() if w.pid != lost.pid])
    assert found.restarts == lost.restarts + 1
    until(lambda: not any(map(alive, children)))
    supervisor_log = (deployment.folder / "logs" / "supervisor.log").read_text()
    assert "Backend[0] ended by itself, killed by signal 9" in supervisor_log
    deployment.scale(Backend=2).result()


def test_a_worker_that_receives_sigterm_drains_and_is_replaced(deployment):
    before = pids(deployment)

    os.kill(before[0], signal.SIGTERM)

    until(lambda: len(pids(deployment)) == 2 and before[0] not in pids(deployment))
    assert pids(deployment)[1] == before[1]


def test_the_supervisor_reaps_its_children(deployment):
    supervisor = psutil.Process(deployment.status.pid)

    until(lambda: all(child.status() != psutil.STATUS_ZOMBIE for child in supervisor.children()))


def test_a_client_that_watches_learns_the_number_of_workers_that_another_client_set(deployment):
    async def scale_with_another_client():
        await ask(deployment.folder / CONTROL, "scale", workers={"Backend": 3})

    portal.run(scale_with_another_client(), timeout=60)
    until(lambda: deployment.spec.services["Backend"].workers == 3)
    deployment.scale(Backend=2).result()
