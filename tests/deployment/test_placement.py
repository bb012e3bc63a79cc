"""Workers on GPUs: which worker sees which, and what happens when there are too few."""

import os
import signal

import pytest
from deployed_program import PROGRAM, alive, folders, pids, until, workers

from dynamo_nb.errors import PlacementError, StartError

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def three_gpus(monkeypatch):
    monkeypatch.setenv("DYNAMO_GPUS", "0,1,2")


def on_gpus(program, workers, gpu):
    words = [f"--Backend.ServiceArgs.workers={workers}", f"--Backend.ServiceArgs.resources.gpu={gpu}"]
    return program.serve("program:Frontend", args=words)


def visible(deployment):
    """What CUDA_VISIBLE_DEVICES is in each worker of Backend."""
    calls = 2 * len(pids(deployment))
    return sorted({deployment.Backend.visible().result() for _ in range(calls)})


def allocated(deployment, service="Backend"):
    return [list(worker.gpus) for worker in workers(deployment, service).values()]


def test_each_worker_sees_its_own_gpus_only(program):
    with on_gpus(program, 3, 1).result() as deployment:
        assert visible(deployment) == ["0", "1", "2"]
        assert allocated(deployment) == [["0"], ["1"], ["2"]]
        assert allocated(deployment, "Frontend") == [[]]

        with pytest.raises(PlacementError, match=r"Backend\.3\.\d+ needs 1 GPU, and 0 can be allocated") as error:
            deployment.scale(Backend=4).result()
        assert "GPU 0: Backend.0." in error.value.where
        assert len(pids(deployment)) == 3

        deployment.update({"Backend.ServiceArgs.resources.gpu": 0}).result()
        assert visible(deployment) == [""]


def test_two_workers_that_ask_for_half_a_gpu_share_one(program):
    with on_gpus(program, 3, 0.5).result() as deployment:
        assert allocated(deployment) == [["0"], ["0"], ["1"]]


def test_too_few_gpus_start_no_worker(program, dynamo_home):
    with pytest.raises(PlacementError, match="needs 2 GPU, and 1 can be allocated"):
        on_gpus(program, 2, 2).result()

    assert folders(dynamo_home) == []


def test_a_second_deployment_gets_gpus_that_the_first_does_not_have(program):
    with on_gpus(program, 2, 1).result() as first:
        with on_gpus(program, 1, 1).result() as second:
            assert (allocated(first), allocated(second)) == ([["0"], ["1"]], [["2"]])
        held = f"the deployment {first.id}"
        with pytest.raises(PlacementError, match=f"GPU 0: {held}; GPU 1: {held}; GPU 2: free"):
            on_gpus(program, 1, 2).result()


def test_a_change_with_too_few_gpus_frees_those_it_allocated(program):
    with on_gpus(program, 1, 1).result() as deployment:
        with pytest.raises(PlacementError):
            deployment.scale(Backend=4).result()
        assert len(deployment.status.services["Backend"].workers) == 1

        deployment.scale(Backend=3).result()

        assert allocated(deployment) == [["0"], ["1"], ["2"]]


def test_a_restarted_worker_keeps_its_gpu(program):
    with on_gpus(program, 2, 1).result() as deployment:
        before = workers(deployment)
        deployment.scale(Backend=3).result()

        os.kill(before[1].pid, signal.SIGKILL)

        until(lambda: 1 in workers(deployment) and workers(deployment)[1].pid != before[1].pid)
        assert allocated(deployment) == [["0"], ["1"], ["2"]]


def test_without_a_spare_gpu_workers_are_replaced_one_by_one_while_the_others_serve(program, tmp_path):
    with on_gpus(program, 3, 1).result() as deployment:
        serving = []
        deployment.listeners.append(lambda d: serving.append(len(workers(d))))

        deployment.update({"Backend.suffix": "!"}).result()

        assert min(serving) == 2
        assert allocated(deployment) == [["0"], ["1"], ["2"]]
        assert {deployment.Backend.say("x").result() for _ in range(6)} == {"x!"}


def test_without_a_spare_gpu_a_version_that_does_not_start_is_replaced_by_the_old_one(program):
    with on_gpus(program, 3, 1).result() as deployment:
        before, spec = workers(deployment), deployment.spec

        with pytest.raises(StartError, match="no weights here"):
            deployment.update({"Backend.fault": "start", "Backend.suffix": "!"}).result()

        until(lambda: len(workers(deployment)) == 3)
        assert [worker.pid for worker in workers(deployment).values()][1:] == [before[1].pid, before[2].pid]
        assert not alive(before[0].pid)
        assert allocated(deployment) == [["0"], ["1"], ["2"]]
        assert deployment.spec == spec
        assert {deployment.Backend.say("x").result() for _ in range(6)} == {"x"}


def test_gpus_go_from_a_service_that_shrinks_to_one_that_grows(program):
    words = ["--Backend.ServiceArgs.resources.gpu=1", "--Frontend.ServiceArgs.resources.gpu=1"]
    with program.serve("program:Frontend", args=words).result() as deployment:
        before = pids(deployment), pids(deployment, "Frontend")
        assert allocated(deployment) + allocated(deployment, "Frontend") == [["0"], ["1"], ["2"]]

        deployment.scale(Backend=1, Frontend=2).result()

        assert (pids(deployment), pids(deployment, "Frontend")[:1]) == (before[0][:1], before[1])
        assert allocated(deployment) + allocated(deployment, "Frontend") == [["0"], ["2"], ["1"]]

        with pytest.raises(PlacementError):
            deployment.scale(Backend=0, Frontend=4).result()
        assert len(pids(deployment)) == 1
        assert len(pids(deployment, "Frontend")) == 2


@pytest.mark.parametrize(
    "line",
    [
        'os.environ["CUDA_VISIBLE_DEVICES"] = "0,1,2"',
        'os.environ |= {"CUDA_VISIBLE_DEVICES": "2"}',
        'del os.environ["CUDA_VISIBLE_DEVICES"]',
        "import settings",
    ],
    ids=["set", "updated", "deleted", "set by an imported module"],
)
def test_a_file_that_sets_the_visible_gpus_does_not_change_those_of_its_workers(program, line):
    program.write("settings.py", 'import os\nos.environ["CUDA_VISIBLE_DEVICES"] = "1"\n')
    program.write("program.py", PROGRAM.replace("import os\n", f"import os\n{line}\n", 1))

    with on_gpus(program, 2, 1).result() as deployment:
        assert visible(deployment) == ["0", "1"]
        assert "the worker keeps '0', which the deployment set" in deployment.logs("Backend")
