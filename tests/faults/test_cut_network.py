"""The network between a worker and its caller is cut, and both still reach NATS: three network namespaces.

caller ── 10.77.0.0/24 ── worker        the cut link
   └──── 10.77.1.0/24 ── nats ── 10.77.2.0/24 ────┘
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dynamo_nb.runtime.nats_server import find_binary

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parent / "network_program.py"
DEADLINE = 0.5  # seconds, of the calls of network_program
NOTICED = 4.0  # seconds after which its TCP notices a vanished peer
SLACK = 5


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def namespaces():
    """Three network namespaces. Returns their names: caller, worker, nats."""
    names = [f"dnb{os.getpid()}{name[0]}" for name in ("caller", "worker", "nats")]
    if shutil.which("ip") is None:
        pytest.skip("network namespaces need the command `ip`")
    created = []
    try:
        for name in names:
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"network namespaces cannot be created here: {error.stderr.decode().strip()}")
            created.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        caller, worker, nats = names
        for number, (one, other) in enumerate([(caller, worker), (caller, nats), (worker, nats)]):
            ends = [f"v{number}a", f"v{number}b"]
            ip("-n", one, "link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", other)
            for namespace, end, host in ((one, ends[0], 1), (other, ends[1], 2)):
                ip("-n", namespace, "address", "add", f"10.77.{number}.{host}/24", "dev", end)
                ip("-n", namespace, "link", "set", end, "up")
        # Both reach NATS at one address, as in one network.
        ip("-n", nats, "address", "add", "10.77.9.9/32", "dev", "lo")
        for number, namespace in ((1, caller), (2, worker)):
            ip("-n", namespace, "route", "add", "10.77.9.9/32", "via", f"10.77.{number}.2")
        yield names
    finally:
        for name in created:
            ip("netns", "delete", name)


@pytest.fixture
def run_in():
    """Starts programs in namespaces, and ends them after the test."""
    processes = []

    def start(namespace, *command):
        command = ["ip", "netns", "exec", namespace, *map(str, command)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in reversed(processes):
        process.kill()
        process.communicate()


def test_deadlines_hold_calls_end_and_calls_work_after_repair(namespaces, run_in, tmp_path, figures):
    caller, worker, nats = namespaces
    log = tmp_path / "nats.log"
    run_in(nats, find_binary(), "-a", "10.77.9.9", "-p", "4222", "-js", "-sd", tmp_path / "store", "-l", log)
    url = "nats://10.77.9.9:4222"
    serving = run_in(worker, sys.executable, PROGRAM, "worker", url, "10.77.0.2")
    assert serving.stdout.readline().startswith("serving")
    calling = run_in(caller, sys.executable, PROGRAM, "caller", url)

    def ask(command):
        calling.stdin.write(command + "\n")
        calling.stdin.flush()
        return json.loads(calling.stdout.readline())

    def cut():
        # Frames are lost silently: this interface is up, and its peer is down.
        ip("-n", worker, "link", "set", "v0b", "down")

    def repair():
        ip("-n", worker, "link", "set", "v0b", "up")

    ask("wait")
    assert ask("call")["answer"] == "now"
    ask("begin")

    cut()
    ask("at_cut")
    during = [ask("call") for _ in range(5)]
    ended = ask("ended")
    still = [ask("call") for _ in range(5)]
    repair()
    after = [ask("wait")]
    while (last := ask("call"))["error"] and len(after) < 40:
        after.append(last)
    ask("begin")
    figures(
        calls_with_deadline_s=[call["seconds"] for call in during + still],
        others_ended_s={name: (call["error"], call["seconds"]) for name, call in ended.items()},
        failed_after_repair=[call["error"] for call in after[1:]],
        repaired_s=round(sum(call["seconds"] for call in after), 2),
    )
    assert {call["error"] for call in during} == {"DeadlineExceeded"}
    assert {call["error"] for call in still} <= {"DeadlineExceeded", "NoInstances"}
    assert max(call["seconds"] for call in during + still) < SLACK * DEADLINE
    assert {call["error"] for call in ended.values()} <= {"WorkerLost", "NoInstances"}
    assert max(call["seconds"] for call in ended.values()) < SLACK * NOTICED
    assert last["answer"] == "now"
