"""A graph that is served again at once: what the ending deployment before it holds is waited for."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from deployed_program import until

from dynamo_nb.control.record import records
from dynamo_nb.errors import PlacementError

pytestmark = pytest.mark.slow

PAGES = """
from dynamo_nb import dynamo_api, service


@service(resources={"gpu": 1})
class Page:
    def __init__(self, port=0):
        pass

    @dynamo_api()
    async def say(self, text: str) -> str:
        return text
"""

OWNER = """
import json
import sys

from pages import Page

from dynamo_nb import serve

config, options = json.loads(sys.argv[1])
deployment = serve(Page, config, kernels=False, **options).result()
print(json.dumps(deployment.status.pid), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def port():
    with socket.socket() as drawn:
        drawn.bind(("127.0.0.1", 0))
        return drawn.getsockname()[1]


@pytest.fixture
def serve_elsewhere(project, monkeypatch):
    """Serves pages.py from another process. Returns that process and the record of the deployment."""
    project.write("pages.py", PAGES)
    project.write("owner.py", OWNER)
    monkeypatch.delenv("DYNAMO_PORT", raising=False)
    monkeypatch.setenv("DYNAMO_GPUS", "0")
    owners = []

    def start(config, options):
        command = [sys.executable, "owner.py", json.dumps([config, options])]
        owner = subprocess.Popen(command, cwd=project.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        owners.append(owner)
        assert owner.stdout.readline()
        return owner, next(records())

    yield start
    for owner in owners:
        owner.kill()
        owner.communicate()


def the_owner_is_killed(owner, record):
    os.kill(record.supervisor.pid, signal.SIGSTOP)  # it has not noticed yet
    owner.kill()
    owner.wait()


def it_is_being_stopped(owner, record):
    (worker,) = record.processes
    os.kill(worker.pid, signal.SIGSTOP)  # it takes its time
    os.kill(record.supervisor.pid, signal.SIGTERM)
    until(lambda: next(records()).stopping)
    os.kill(record.supervisor.pid, signal.SIGSTOP)
    os.kill(worker.pid, signal.SIGCONT)


def the_supervisor_is_killed(owner, record):
    os.kill(record.processes[0].pid, signal.SIGSTOP)
    os.kill(record.supervisor.pid, signal.SIGKILL)
    until(lambda: not record.supervisor.alive)


def resume(record):
    """Lets the processes of a deployment go on."""
    for process in (record.supervisor, *record.processes):
        if process.alive:
            os.kill(process.pid, signal.SIGCONT)


def waiting(folder):
    """The message of a new deployment that waits; "" if none does."""
    logs = [log.read_text() for log in folder.glob("*/logs/supervisor.log")]
    return next((text for text in logs if "waiting for" in text), "")


HELD = {
    "the port that is tried first": ({}, {"http_port": "port"}, {"http_port": None}),
    "a required port": ({}, {"http_port": "port"}, {"http_port": "port"}),
    "the port of the metrics page": (
        {},
        {"http_port": 0, "metrics_port": "port"},
        {"http_port": 0, "metrics_port": "port"},
    ),
    "the only GPU": ({"Page.ServiceArgs.resources.gpu": 1}, {"http_port": 0}, {"http_port": 0}),
}


@pytest.mark.parametrize(
    ("end", "held"),
    [
        pytest.param(the_owner_is_killed, "the port that is tried first", id="the owner is killed, the first port"),
        pytest.param(the_owner_is_killed, "the port of the metrics page", id="the owner is killed, the metrics page"),
        pytest.param(it_is_being_stopped, "the only GPU", id="it is being stopped, the only GPU"),
        pytest.param(the_supervisor_is_killed, "a required port", id="the supervisor is killed, a required port"),
    ],
)
async def test_what_an_ending_deployment_holds_is_waited_for(
    serve_elsewhere, project, dynamo_home, monkeypatch, port, held, end
):
    config, before_options, options = (
        {key: port if value == "port" else value for key, value in part.items()} for part in HELD[held]
    )
    config = {"Page.ServiceArgs.resources.gpu": 0, **config}
    monkeypatch.setattr("dynamo_nb.deployment.serve_options.HTTP_PORT", port)
    owner, before = serve_elsewhere(config, before_options)
    end(owner, before)
    arguments = [f"--{key}={value}" for key, value in config.items()]
    starting = asyncio.to_thread(lambda: project.serve("pages:Page", args=arguments, **options).result())
    starting = asyncio.ensure_future(starting)

    message = await asyncio.to_thread(until, lambda: waiting(dynamo_home))
    resume(before)

    assert f"waiting for {before.id}, which ends" in message
    async with await starting as deployment:
        assert any(f"for {before.id}, which ends" in warning for warning in deployment.warnings)
        found = deployment.urls["Page"]
        assert found.endswith(f":{port}") or options["http_port"] == 0
        assert "metrics" not in held or f":{port}/" in deployment.status.metrics_url


async def test_a_detached_deployment_is_named_and_not_waited_for(serve_elsewhere, project, port):
    owner, before = serve_elsewhere({"Page.ServiceArgs.resources.gpu": 0}, {"http_port": port, "detach": True})
    owner.kill()
    owner.wait()
    try:
        with pytest.raises(PlacementError, match=f"the deployment {before.id}"):
            await project.serve("pages:Page", args=["--Page.ServiceArgs.resources.gpu=0"], http_port=port)
    finally:
        os.kill(before.supervisor.pid, signal.SIGTERM)
        await before.supervisor.ended()
