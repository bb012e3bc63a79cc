"""The memory and CPU of workers, with those of their descendants."""

import os
import subprocess
import sys
import time

import psutil

from dynamo_nb.supervisor.resource_usage import UsageMeter

HOLDS = "held = b'x' * 50_000_000; print(flush=True); input()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLDS!r}], start_new_session=True)"


def test_the_memory_of_a_worker_includes_descendants_in_other_sessions():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        worker.stdout.readline()
        found = UsageMeter().read([worker.pid, os.getpid()], gpus=False)
        worker.communicate(b"\n", timeout=60)
    assert found[worker.pid].memory > 50_000_000
    assert found[worker.pid].gpu_memory is None


def test_a_process_that_has_ended_uses_no_memory():
    worker = subprocess.Popen([sys.executable, "-c", ""])
    worker.wait()
    assert UsageMeter().read([worker.pid], gpus=False)[worker.pid].memory == 0


BURNS = "print(flush=True)\nwhile True: pass"
BURNING_PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURNS!r}])"


def test_the_cpu_of_a_worker_is_that_of_its_descendants_between_two_readings():
    meter = UsageMeter()
    with subprocess.Popen([sys.executable, "-c", BURNING_PARENT], stdout=subprocess.PIPE) as worker:
        worker.stdout.readline()
        first = meter.read([worker.pid], gpus=False)[worker.pid]
        deadline = time.monotonic() + 30
        while (later := meter.read([worker.pid], gpus=False)[worker.pid]).cpu_seconds < first.cpu_seconds + 0.1:
            assert time.monotonic() < deadline
        for child in psutil.Process(worker.pid).children():
            child.kill()
    assert first.cpu is None
    assert later.cpu > 0


def test_the_use_of_cpu_is_not_known_before_a_second_reading():
    assert UsageMeter().read([os.getpid()], gpus=False)[os.getpid()].cpu is None
