"""A process keeps its identity when the system's clock is set, and a later process with its pid has another one."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from dynamo_nb.control import processes, state_dir
from dynamo_nb.control.cleanup import clean_up
from dynamo_nb.control.processes import ProcessId
from dynamo_nb.control.record import Record, records
from dynamo_nb.control.starters import note_starters

pytestmark = pytest.mark.skipif(not psutil.LINUX, reason="other systems note the time of the start")
STEPS = [-86400.0, -3.0, -1.5, 1.5, 3.0, 3600.0]


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    process.stdin.close()


@pytest.fixture
def step_clock(monkeypatch):
    """Sets the clock: the time, and what the kernel computes from it, which is the time of the boot."""

    def step(seconds):
        now, created, boot = time.time, psutil.Process.create_time, psutil.boot_time
        monkeypatch.setattr(time, "time", lambda: now() + seconds)
        monkeypatch.setattr(psutil, "boot_time", lambda: boot() + seconds)
        monkeypatch.setattr(psutil.Process, "create_time", lambda process: created(process) + seconds)

    return step


@pytest.mark.parametrize("seconds", STEPS)
def test_a_process_is_alive_after_a_step_of_the_clock(step_clock, child, seconds):
    before = [ProcessId.of(os.getpid()), ProcessId.of(child.pid)]
    step_clock(seconds)
    assert [process.alive for process in before] == [True, True]
    assert [ProcessId.of(process.pid) for process in before] == before


@pytest.mark.parametrize("seconds", STEPS)
def test_a_running_deployment_is_not_cleaned_up_after_a_step_of_the_clock(dynamo_home, step_clock, child, seconds):
    folder = state_dir.root() / "running"
    folder.mkdir()
    own, worker = ProcessId.of(os.getpid()), ProcessId.of(child.pid)
    Record("running", "running", folder, supervisor=own, owner=own, started=time.time(), processes=(worker,)).write()
    step_clock(seconds)
    assert [(record.alive, record.owner.alive) for record in records()] == [(True, True)]
    assert clean_up() == []
    assert folder.exists()
    assert child.poll() is None


@pytest.mark.parametrize("seconds", STEPS)
def test_a_deployment_that_starts_is_not_cleaned_up_after_a_step_of_the_clock(dynamo_home, step_clock, child, seconds):
    by_the_client, by_the_supervisor = state_dir.new_folder("one"), state_dir.new_folder("two")
    note_starters(by_the_supervisor, child.pid)
    left = state_dir.new_folder("left")
    gone = subprocess.Popen(["true"])
    note_starters(left, gone.pid)
    gone.wait()
    step_clock(seconds)
    assert clean_up() == [f"removed {left.name}, which never started to serve"]
    assert by_the_client.exists()
    assert by_the_supervisor.exists()
    child.kill()
    child.wait()
    assert clean_up() == [f"removed {by_the_supervisor.name}, which never started to serve"]


@pytest.mark.parametrize("seconds", STEPS)
def test_the_workers_of_a_crashed_deployment_are_found_after_a_step_of_the_clock(
    dynamo_home, step_clock, child, seconds
):
    folder = state_dir.root() / "crashed"
    folder.mkdir()
    worker = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    gone = replace(ProcessId.of(child.pid), start="of an earlier process")
    noted = (ProcessId.of(worker.pid),)
    Record("crashed", "crashed", folder, supervisor=gone, owner=None, started=time.time(), processes=noted).write()
    step_clock(seconds)
    assert clean_up() == [f"killed process {worker.pid} and removed crashed"]
    assert worker.wait(10) == -signal.SIGKILL
    assert child.poll() is None  # it only has the pid


def test_a_process_that_ended_and_is_not_reaped_is_not_alive(child):
    process = ProcessId.of(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process.alive
    assert ProcessId.of(child.pid) == process
    child.wait()
    assert not process.alive
    with pytest.raises(psutil.NoSuchProcess):
        ProcessId.of(child.pid)


def test_a_process_of_an_earlier_boot_is_not_alive(monkeypatch, child):
    process = ProcessId.of(child.pid)
    monkeypatch.setattr(processes, "_boot", lambda: "another boot")
    assert not process.alive


@pytest.mark.parametrize("name", ["plain", "with space", "a) Z 1 (b", ")", "( ", "é) Z"])
def test_the_name_of_a_process_does_not_matter(name):
    script = f"open('/proc/self/comm', 'wb').write({name.encode()!r}); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        before = ProcessId.of(process.pid)
        process.stdout.readline()
        assert before.alive
        assert ProcessId.of(process.pid) == before
        process.kill()
    assert not before.alive


RUNS = """
import sys
from pathlib import Path
from dynamo_nb.control.record import Record, lock
from dynamo_nb.control.processes import ProcessId
import os

folder = Path(sys.argv[1])
held = lock(folder)
own = ProcessId.of(os.getpid())
Record(folder.name, "running", folder, supervisor=own, owner=own, started=0.0, ports=(8000,), gpus=("0",)).write()
print(flush=True)
input()
"""
LOOKS = """
import sys
from dynamo_nb.control import processes
from dynamo_nb.control.cleanup import clean_up
from dynamo_nb.control.record import records
from dynamo_nb.supervisor.ending_deployments import held_without_a_supervisor

if "another boot" in sys.argv[1]:
    processes._boot = lambda: "of another machine"
found = [(record.alive, record.ending, held_without_a_supervisor("0")) for record in records()]
print(found, clean_up())
"""
ELSEWHERE = {
    "here": [],
    "in another time namespace": ["unshare", "--time", "--boottime=86400", "--fork"],
    "in a time namespace that is behind": ["unshare", "--time", "--boottime=-5", "--fork"],
    "in another pid namespace": ["unshare", "--pid", "--fork", "--mount-proc"],
    "in another time and pid namespace": ["unshare", "--time", "--boottime=7", "--pid", "--fork", "--mount-proc"],
    "after another boot, as on another machine": [],
}


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_deployment_whose_processes_cannot_be_seen_is_not_cleaned_up(dynamo_home, where):
    command = ELSEWHERE[where]
    if command and subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("the system does not allow another namespace")
    folder = state_dir.root() / "running"
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", RUNS, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as runs:
        runs.stdout.readline()
        look = [sys.executable, "-c", LOOKS, where]

        found = subprocess.run([*command, *look], capture_output=True, text=True, check=True).stdout

        assert found == "[(True, False, False)] []\n"
        assert folder.exists()
        runs.kill()
    found = subprocess.run([*command, *look], capture_output=True, text=True, check=True).stdout
    assert found == "[(False, False, False)] ['removed running']\n"
