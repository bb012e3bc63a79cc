"""A short run of the soak program."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.alone]

PROGRAMS = Path(__file__).parents[1] / "benchmarks" / "programs"
CALLS = 6000


def test_no_resource_grows_in_thousands_of_calls_of_every_kind(figures):
    done = subprocess.run(
        [sys.executable, "soak.py", "--calls", str(CALLS)], cwd=PROGRAMS, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    figures(**result)
    assert result["grown"] == []
    assert result["wrong"] == {}


def test_growth_is_detected():
    check = "from soak import growth; print(growth(*[{'caller': {'memory_mb': 30, 'objects': 1000, 'tasks': t, 'files': 4, 'sockets': 3}} for t in (2, 3)]))"
    done = subprocess.run([sys.executable, "-c", check], cwd=PROGRAMS, capture_output=True, text=True)
    assert done.stdout.strip() == "['tasks of the caller: 2 -> 3']"
