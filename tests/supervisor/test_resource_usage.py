"""The memory of workers, with that of their descendants."""

import os
import subprocess
import sys

from dynamo_nb.supervisor.resource_usage import usage

HOLDS = "held = b'x' * 50_000_000; print(flush=True); input()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLDS!r}], start_new_session=True)"


def test_the_memory_of_a_worker_includes_descendants_in_other_sessions():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        worker.stdout.readline()
        found = usage([worker.pid, os.getpid()], gpus=False)
        worker.communicate(b"\n", timeout=60)
    assert found[worker.pid].memory > 50_000_000
    assert found[worker.pid].gpu_memory is None


def test_a_process_that_has_ended_uses_no_memory():
    worker = subprocess.Popen([sys.executable, "-c", ""])
    worker.wait()
    assert usage([worker.pid], gpus=False)[worker.pid].memory == 0
