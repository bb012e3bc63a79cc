"""Faults of the supervisor's own means when a worker dies: a full disk, no descriptors, no process to fork from."""

import os
import signal
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from load import until, workers

from dynamo_nb.control.record import records

pytestmark = pytest.mark.slow


def fork_server(deployment):
    """The process that workers are forked from. Workers have its command line, and a session of their own."""
    supervisor = deployment.status.pid
    for process in psutil.Process(supervisor).children():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # one that has just ended
            apart = process.status() == psutil.STATUS_ZOMBIE or os.getsid(process.pid) != supervisor
            if not apart and "multiprocessing.forkserver" in " ".join(process.cmdline()):
                return process
    return None


def log_of(deployment):
    return Path(deployment.folder, "logs", "supervisor.log").read_text()


@contextmanager
def limit(process, resource, soft):
    before = process.rlimit(resource)
    process.rlimit(resource, (soft, before[1]))
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            process.rlimit(resource, before)


def full_disk(deployment):
    """The supervisor can write to no file."""
    return limit(psutil.Process(deployment.status.pid), psutil.RLIMIT_FSIZE, 0)


def no_descriptors(deployment):
    """The supervisor can open no file, socket or pipe."""
    supervisor = psutil.Process(deployment.status.pid)
    return limit(supervisor, psutil.RLIMIT_NOFILE, supervisor.num_fds())


def no_descriptors_to_fork(deployment):
    """The fork server ends at the next fork."""
    process = fork_server(deployment)
    return limit(process, psutil.RLIMIT_NOFILE, process.num_fds())


@contextmanager
def killed_fork_server(deployment):
    fork_server(deployment).kill()
    yield


@contextmanager
def killed_fork_server_on_a_full_disk(deployment):
    with full_disk(deployment):
        fork_server(deployment).kill()
        yield


@pytest.mark.parametrize(
    "fault",
    [full_disk, no_descriptors, no_descriptors_to_fork, killed_fork_server, killed_fork_server_on_a_full_disk],
    ids=lambda fault: fault.__name__.replace("_", " "),
)
@pytest.mark.parametrize("passes", ["before the worker is replaced", "afterwards"])
async def test_a_worker_that_dies_during_a_fault_of_the_system_is_started_again(serve, fault, passes):
    deployment = await serve("Backend")
    before = workers(deployment)
    seen = deployment.status

    with fault(deployment):
        os.kill(before[0].pid, signal.SIGKILL)
        if passes == "afterwards" and fault is not no_descriptors:
            await until(lambda: 0 in workers(deployment) and workers(deployment)[0].pid != before[0].pid)
        else:
            await until(lambda: deployment.status is not seen and 0 not in workers(deployment))
    await until(lambda: 0 in workers(deployment) and workers(deployment)[0].pid != before[0].pid)

    assert workers(deployment)[1].pid == before[1].pid
    await until(lambda: {process.pid for process in _record(deployment).processes} == _pids(deployment))
    assert {await deployment.Backend.pid() for _ in range(6)} == _pids(deployment)


async def test_workers_go_on_when_the_process_that_they_are_forked_from_is_killed(serve):
    deployment = await serve("Backend")
    before = workers(deployment)
    for _ in range(2):
        process = fork_server(deployment)
        process.kill()
        await until(lambda process=process: fork_server(deployment) not in (None, process))
    assert "the process that workers are forked from ended" in log_of(deployment)
    assert workers(deployment) == before

    os.kill(before[0].pid, signal.SIGKILL)  # it has another parent now

    await until(lambda: 0 in workers(deployment) and workers(deployment)[0].pid != before[0].pid)
    assert workers(deployment)[1] == before[1]
    assert "killed by signal 9" in log_of(deployment)
    await deployment.scale(Backend=3)
    assert len(_pids(deployment)) == 3


def _pids(deployment):
    return {worker.pid for worker in workers(deployment).values()}


def _record(deployment):
    return next(record for record in records() if record.id == deployment.status.id)
