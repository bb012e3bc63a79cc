"""The events of a deployment: ends of workers, restarts, changes, failures, NATS, start and stop."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from deployed_program import until, workers

from dynamo_nb.cli.main import run
from dynamo_nb.cli.terminal_host import TerminalHost
from dynamo_nb.deployment.attach import attach
from dynamo_nb.errors import DeploymentError, DynamoError, StartError

pytestmark = pytest.mark.slow


@pytest.fixture
def served(program):
    with program.serve("program:Frontend").result() as deployment:
        yield deployment


def texts(deployment, kind):
    return [event.text for event in deployment.events if event.kind == kind]


def event(deployment, kind):
    """The first event of a kind, once there is one."""
    return until(lambda: next((event for event in deployment.events if event.kind == kind), None))


def test_a_deployment_begins_and_ends_with_events(program):
    before = time.time()
    with program.serve("program:Frontend").result() as deployment:
        started = deployment.events
    assert [event.text for event in started][1:] == ["serves 2 services with 3 workers"]
    assert started[0].text.startswith("the supervisor started")
    assert all(before <= event.at <= time.time() for event in started)
    assert [event.number for event in deployment.events] == [1, 2, 3, 4]
    assert [event.kind for event in deployment.events] == ["started", "started", "stopping", "stopped"]
    assert texts(deployment, "stopping") == ["the deployment is being stopped: a client requested it"]


def test_a_killed_worker_and_its_restart_are_events(served):
    os.kill(workers(served)[1].pid, signal.SIGKILL)
    ended = event(served, "worker ended")
    assert ended.text == "Backend[1] ended by itself, killed by signal 9 (SIGKILL)"
    assert (ended.service, ended.worker, ended.bad) == ("Backend", "Backend[1]", True)
    assert event(served, "worker restarted").text == "Backend[1] was restarted and takes requests"
    assert until(lambda: served.status.services["Backend"].restarts) == 1


def test_a_worker_that_receives_sigterm_is_an_event(served):
    os.kill(workers(served)[0].pid, signal.SIGTERM)
    assert event(served, "worker ended").text == "Backend[0] received SIGTERM and finishes its requests"
    assert event(served, "worker restarted").worker == "Backend[0]"


def test_a_worker_that_hangs_is_an_event(program, tmp_path):
    with program.serve("program:Frontend", hang=1.0).result() as deployment:
        blocked = deployment.Backend.block(str(tmp_path / "gate"))
        calling = threading.Thread(target=_ends_with_an_error, args=[blocked])
        calling.start()
        unhealthy = event(deployment, "worker unhealthy")
        assert unhealthy.text.endswith("did not answer for 1 s: its event loop is blocked")
        assert "in block" in unhealthy.detail
        deployment.stop().result()
        calling.join()


def _ends_with_an_error(call):
    with pytest.raises(DynamoError):
        call.result()


def test_a_crash_loop_is_one_event_with_its_reason(served):
    for _ in range(2):
        pid = until(lambda: workers(served).get(0)).pid
        os.kill(pid, signal.SIGSEGV)
        until(lambda pid=pid: 0 in workers(served) and workers(served)[0].pid != pid)
    loop = event(served, "crash loop")
    assert loop.text == "Backend[0] is in a crash loop: it is restarted every 30 s or sooner"
    assert "killed by signal 11 (SIGSEGV)" in loop.detail
    until(lambda: "Backend[0] takes requests again after 2 restarts" in texts(served, "worker restarted"))


def test_changes_are_events(served):
    served.scale(Backend=3).result()
    served.update({"Backend.suffix": "?"}).result()
    served.restart("Frontend").result()
    assert texts(served, "scaled") == ["Backend was scaled from 2 to 3 workers"]
    assert texts(served, "updated") == ["Backend was replaced (configuration): 3 new workers"]
    assert texts(served, "restarted") == ["Frontend was restarted: 1 new worker"]


def test_a_change_that_fails_is_an_event_with_its_error(served):
    with pytest.raises(StartError):
        served.update({"Backend.fault": "init"}).result()
    with pytest.raises(DeploymentError):
        served.scale(Frontend=-1).result()
    failed = [event for event in served.events if event.kind == "change failed"]
    assert [one.text.partition(":")[0] for one in failed] == [
        "an update failed, and the old version still serves",
        "scaling to Frontend=-1 failed, and the old version still serves",
    ]
    assert "no suffix will do" in failed[0].detail


def test_the_events_survive_that_a_client_disconnects_and_another_attaches(program, capsys):
    deployment = program.serve("program:Frontend").result()
    try:
        deployment.scale(Backend=1).result()
        deployment.detach().result()
        kinds = [event.kind for event in deployment.events]
        assert kinds == ["started", "started", "scaled", "detached"]
        deployment.disconnect().result()
        other = attach(deployment.id).result()
        assert [event.kind for event in other.events] == kinds
        run(["events", "-n", "2"], TerminalHost())
        lines = capsys.readouterr().out.splitlines()
        assert [line.split("  ", 1)[1] for line in lines] == [event.text for event in other.events[-2:]]
        run(["events", "--json"], TerminalHost())
        assert [event["kind"] for event in json.loads(capsys.readouterr().out)] == kinds
    finally:
        attach(deployment.id).result().stop().result()


def test_the_end_of_nats_and_its_return_are_events(served):
    supervisor = psutil.Process(served.status.pid)
    (server,) = (child for child in supervisor.children() if "nats" in child.name())
    server.kill()
    assert event(served, "NATS lost").bad
    assert event(served, "NATS back").text == "the embedded NATS server runs again"


def test_dynamo_events_follows_a_deployment_until_it_stops(served):
    command = [Path(sys.executable).with_name("dynamo"), "events", "-f", "-d", served.id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        try:
            assert "the supervisor started" in following.stdout.readline()
            assert "serves 2 services" in following.stdout.readline()
            served.scale(Backend=1).result()
            assert "Backend was scaled from 2 to 1 worker" in following.stdout.readline()
            served.stop().result()
            assert "is being stopped" in following.stdout.readline()
            assert following.wait(timeout=30) == 0
        finally:
            following.kill()
