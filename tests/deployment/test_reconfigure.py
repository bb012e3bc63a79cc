"""Services with a `reconfigure` hook: a changed value reaches their running workers."""

import asyncio

import pytest
from deployed_program import pids, until

from dynamo_nb.errors import DeploymentError
from dynamo_nb.runtime import DistributedRuntime
from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

TUNED = """
from dynamo_nb import ServiceConfig, depends, dynamo_context, dynamo_endpoint, reconfigure, service


@service(workers=2)
class Backend:
    def __init__(self, limit=1, rejected_by=-1):
        self.limit, self.started_with, self.received = limit, limit, []

    @reconfigure
    async def change_limit(self, config):
        self.received.append(config["limit"])
        slot = int(dynamo_context["worker_id"].split(".")[1])
        if config.get("rejected_by") == slot or 0 in self.received:  # after 0 every value is rejected
            raise ValueError("that is too many")
        self.limit = config["limit"]

    @dynamo_endpoint()
    async def state(self) -> list:
        return [self.limit, self.started_with, self.received, ServiceConfig.get_instance()["Backend"]["limit"]]


@service
class Frontend:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return text
"""


@pytest.fixture
def tuned(project):
    project.write("tuned.py", TUNED)
    with project.serve("tuned:Frontend", args=["--Backend.limit=1"]).result() as deployment:
        yield deployment


def states(deployment):
    """The state of each of the two workers."""
    found = [deployment.Backend.state().result(timeout=30) for _ in range(2)]
    return sorted(found)


def test_a_changed_value_reaches_the_running_workers(tuned):
    before = pids(tuned)

    tuned.update({"Backend.limit": 5}).result(timeout=60)

    assert pids(tuned) == before
    assert states(tuned) == [[5, 1, [5], 5]] * 2


def test_additional_workers_start_with_the_changed_value(tuned):
    before = pids(tuned)

    tuned.update({"Backend.limit": 5, "Backend.ServiceArgs.workers": 3}).result(timeout=60)

    assert pids(tuned)[:2] == before
    found = sorted(tuned.Backend.state().result(timeout=30) for _ in range(3))
    assert found == [[5, 1, [5], 5], [5, 1, [5], 5], [5, 5, [], 5]]


def test_instances_register_the_version_that_they_run(tuned):
    tuned.update({"Backend.limit": 5}).result(timeout=60)

    async def versions():
        runtime = await DistributedRuntime.connect(**vars(tuned.access))
        client = await runtime.namespace("default").component("Backend").endpoint("state").client()
        found = {instance.version for instance in client.instances}
        await runtime.close()
        return found

    assert portal.run(versions(), timeout=30) == {tuned.spec.fingerprint("Backend")[:12]}


@pytest.mark.parametrize("slot", [0, 1])
def test_when_one_worker_rejects_a_value_all_keep_the_old_one(tuned, slot):
    before = pids(tuned)

    with pytest.raises(
        DeploymentError, match=r"(?s)Backend rejected its configuration: ValueError: that is too.*in change_limit"
    ):
        tuned.update({"Backend.limit": 9, "Backend.rejected_by": slot}).result(timeout=60)

    assert pids(tuned) == before
    assert [[limit, config] for limit, _, _, config in states(tuned)] == [[1, 1]] * 2
    tuned.update({"Backend.limit": 3, "Backend.rejected_by": -1}).result(timeout=60)
    assert [limit for limit, *_ in states(tuned)] == [3, 3]


def test_a_worker_that_rejects_the_old_value_too_is_restarted(tuned):
    before = set(pids(tuned))

    with pytest.raises(DeploymentError, match="rejected its configuration"):
        tuned.update({"Backend.limit": 0, "Backend.rejected_by": 0}).result(timeout=60)

    until(lambda: len(pids(tuned)) == 2 and not before <= set(pids(tuned)))
    assert [limit for limit, *_ in states(tuned)] == [1, 1]


def test_a_deployment_can_be_stopped_while_a_hook_never_returns(project, tmp_path):
    started = tmp_path / "started"
    hangs = f"""        from pathlib import Path
        Path({str(started)!r}).touch()
        await asyncio.Event().wait()
        self.limit = config"""
    text = TUNED.replace("        self.limit = config", hangs, 1).replace(
        "from dynamo_nb", "import asyncio\n\nfrom dynamo_nb", 1
    )
    project.write("tuned.py", text)
    deployment = project.serve("tuned:Frontend", args=["--Backend.limit=1"]).result()

    async def update():
        await deployment.update({"Backend.limit": 2})

    updating = asyncio.run_coroutine_threadsafe(update(), portal.loop)
    until(started.exists)
    deployment.stop().result(timeout=30)
    with pytest.raises(DeploymentError):
        updating.result(timeout=30)


def test_a_change_of_more_than_configuration_replaces_the_workers(tuned):
    before = pids(tuned)

    tuned.update({"Backend.ServiceArgs.envs": {"NEW": "1"}, "Backend.limit": 2}).result(timeout=60)

    assert not set(pids(tuned)) & set(before)
    assert states(tuned) == [[2, 2, [], 2]] * 2
