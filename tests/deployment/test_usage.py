"""The memory of workers, with what they started."""

import os
import subprocess
import sys

from dynamo_nb.supervisor.resource_usage import usage

HOLDS = "held = b'x' * 50_000_000; print(flush=True); input()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLDS!r}], start_new_session=True)"


def test_what_a_worker_started_counts_as_its_own_even_in_another_session():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        worker.stdout.readline()
        found = usage([worker.pid, os.getpid()], gpus=False)
        worker.communicate(b"\n", timeout=60)
    assert found[worker.pid].memory > 50_000_000
    assert found[worker.pid].gpu_memory is None


def test_a_process_that_has_gone_uses_nothing():
    worker = subprocess.Popen([sys.executable, "-c", ""])
    worker.wait()
    assert usage([worker.pid], gpus=False)[worker.pid].memory == 0
