"""A supervisor ends after all of its descendants: until then they hold what another deployment would take."""

import json
import subprocess
import sys

import psutil
import pytest

HELD = """
import asyncio, ctypes, json, os, subprocess, sys
import psutil
from dynamo_nb.control.subreaper import adopt_orphans, end_descendants

SEIZE, DETACH, STOP_AT_EXIT = 0x4206, 17, 0x40
ptrace = ctypes.CDLL(None).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


async def main(kind, limit):
    adopt_orphans()
    session = ["setsid"] if "session" in kind else []
    script = ["sh", "-c", "sleep 1000 & sleep 1000"] if "grandchild" in kind else ["sleep", "1000"]
    child = psutil.Popen([*session, *script])
    while not (pids := [p for p in [child, *child.children()] if p.name() == "sleep"]):
        await asyncio.sleep(0.01)
    pid = pids[-1].pid
    if ptrace(SEIZE, pid, None, STOP_AT_EXIT) != 0:
        print(json.dumps(None))
        return
    ending = asyncio.create_task(end_descendants(float(limit)))
    while psutil.Process(pid).status() != psutil.STATUS_TRACING_STOP:
        await asyncio.sleep(0.01)
    if limit == "0.1":
        await ending
    waits = not ending.done()
    ptrace(DETACH, pid, None, None)
    await ending
    print(json.dumps([waits, psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]))


asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process at its end")
@pytest.mark.parametrize(
    ("kind", "limit", "waits"),
    [
        ("a child", "30", True),
        ("a grandchild", "30", True),
        ("a child in another session", "30", True),
        ("a child that takes too long", "0.1", False),
    ],
)
def test_a_killed_process_that_still_holds_a_device_is_waited_for(kind, limit, waits):
    """The process is held at its end by a tracer, as by a driver that frees its memory."""
    command = [sys.executable, "-c", HELD, kind, limit]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
    if found is None:
        pytest.skip("the system does not let a process hold another one")

    assert found[0] == waits
    assert not waits or not found[1]
    assert not [p for p in psutil.Process().children(recursive=True) if p.name() == "sleep"]
