"""The sockets on which a deployment listens: all are known, and another user of this machine gets nothing from them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from deployed_program import workers
from jupyter_client import BlockingKernelClient

from dynamo_nb.control import state_dir
from dynamo_nb.errors import DeploymentError
from dynamo_nb.runtime import DistributedRuntime
from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

NOBODY = 65534
BOUND = 30
STRANGER = """
import encodings.idna, json, os, socket, sys
os.setgroups([])
os.setgid({nobody})
os.setuid({nobody})
found = {{}}
for path in json.loads(sys.argv[1]):
    with socket.socket(socket.AF_UNIX) as door:
        try:
            door.connect(path)
            found[path] = "entered"
        except PermissionError:
            found[path] = "refused"
for name, (port, text) in json.loads(sys.argv[2]).items():
    with socket.create_connection(("127.0.0.1", port), timeout=20) as door:
        door.sendall(text.encode())
        found[name] = ""
        try:
            while data := door.recv(65536):
                found[name] += data.decode(errors="replace")
        except ConnectionResetError:
            pass
print(json.dumps(found))
"""
HTTP_PROGRAM = """
from dynamo_nb import dynamo_api, service

@service
class Backend:
    @dynamo_api
    async def say(self, text: str) -> str:
        return text
"""


def processes(deployment):
    supervisor = psutil.Process(deployment.status.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def listening(deployment):
    """The TCP ports and the Unix sockets on which the processes of a deployment listen."""
    connections = [c for process in processes(deployment) for c in process.net_connections("tcp")]
    folder = str(deployment.folder)
    with Path("/proc/net/unix").open() as table:  # a socket that listens has the flag __SO_ACCEPTCON
        rows = [line.split() for line in table][1:]
    paths = {row[7] for row in rows if len(row) > 7 and row[7].startswith(folder) and int(row[3], 16) & 0x10000}
    return {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}, paths


def port_of(url):
    return int(url.rpartition(":")[2].partition("/")[0])


def known(deployment):
    """The ports that the documentation names: NATS, metrics, HTTP endpoints, and workers for other machines."""

    async def of_workers():
        runtime = await DistributedRuntime.connect(**vars(deployment.access))
        try:
            client = await runtime.namespace("default").component("Backend").endpoint("say").client()
            return {instance.port for instance in client.instances} - {None}
        finally:
            await runtime.close()

    urls = [deployment.access.nats_url, deployment.metrics_url, *deployment.urls.values()]
    return {port_of(url) for url in urls} | portal.run(of_workers(), timeout=BOUND)


class kernel_of:
    """A client of the kernel of the first worker of Backend."""

    def __init__(self, deployment):
        self.client = BlockingKernelClient(connection_file=workers(deployment)[0].connection_file)

    def __enter__(self):
        self.client.load_connection_file()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=BOUND)
        return self.client

    def __exit__(self, *_):
        self.client.stop_channels()


def request_debugger(deployment):
    """Asks the kernel of a worker for ipykernel's debugger, as JupyterLab does."""
    with kernel_of(deployment) as client:
        request = client.session.msg("debug_request", {"type": "request", "command": "initialize", "arguments": {}})
        client.control_channel.send(request)


def nothing(deployment):
    pass


def print_in_a_child(deployment):
    with kernel_of(deployment) as client:
        assert printed(client) == "from a child\n"


def printed(client):
    """The output of a cell that forks a child, which prints."""
    lines = [
        "import multiprocessing",
        "child = multiprocessing.get_context('fork').Process(target=print, args=('from a child',))",
        "child.start(); child.join()",
    ]
    shown = []
    client.execute_interactive("\n".join(lines), timeout=BOUND, output_hook=shown.append)
    return "".join(m["content"].get("text", "") for m in shown if m["msg_type"] == "stream")


OTHER_MACHINES = {"worker_host": "127.0.0.1", "secret": "between us"}
"""Options of a deployment whose workers listen for other machines."""
DOORS = {
    "workers that are kernels": (None, {"kernels": True}, nothing),
    "kernels whose forked children print": (None, {"kernels": True}, print_in_a_child),
    "kernels that are asked for a debugger": (None, {"kernels": True}, request_debugger),
    "workers without kernels": (None, {"kernels": False}, nothing),
    "requests over NATS": (None, {"kernels": True, "plane": "nats"}, nothing),
    "workers that listen for other machines": (None, {"kernels": True, **OTHER_MACHINES}, nothing),
    "HTTP endpoints": (HTTP_PROGRAM, {"kernels": True}, nothing),
}


@pytest.mark.parametrize("name", DOORS)
def test_a_deployment_listens_on_known_sockets_alone(program, name):
    text, options, act = DOORS[name]
    if text is not None:
        program.write("program.py", text)
    with program.serve("program:Backend", **options).result() as deployment:
        act(deployment)

        ports, paths = listening(deployment)

        assert ports == known(deployment)
        assert paths
        assert all(path.startswith(str(deployment.folder)) for path in paths)
        assert deployment.folder.stat().st_mode & 0o077 == 0


def as_another_user(paths, ports):
    """What another user gets from Unix sockets, and from TCP ports after a text was sent."""
    script = STRANGER.format(nobody=NOBODY)
    command = [sys.executable, "-c", script, json.dumps(sorted(paths)), json.dumps(ports)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_gets_nothing_from_a_deployment(program):
    with program.serve("program:Backend", kernels=True, **OTHER_MACHINES).result() as deployment:
        ports, paths = listening(deployment)
        nats, metrics = port_of(deployment.access.nats_url), port_of(deployment.metrics_url)
        texts = {
            "nats": (nats, 'CONNECT {"verbose":true}\r\nSUB > 1\r\nPING\r\n'),
            "metrics": (metrics, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"),
        }
        texts |= {f"worker {port}": (port, "x" * 1000) for port in ports - {nats, metrics}}
        before = deployment.logs("Backend")

        found = as_another_user(paths, texts)

        assert {path: found.pop(path) for path in paths} == dict.fromkeys(paths, "refused")
        assert "Authorization Violation" in found.pop("nats")
        assert found.pop("metrics").startswith("HTTP/1.1 401")
        assert found
        assert all("say" not in answer for answer in found.values())
        assert len(deployment.logs("Backend")) < len(before) + 1000
        assert deployment.Backend.say("hello").result(timeout=BOUND) == "hello"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
@pytest.mark.parametrize(("user", "refused"), [(NOBODY, True), (0, False)], ids=["of another user", "of its owner"])
def test_a_link_of_another_user_is_no_state_directory(dynamo_home, monkeypatch, user, refused):
    link = dynamo_home / "link"
    link.symlink_to(state_dir.new_folder("real"))
    os.lchown(link, user, user)
    monkeypatch.setenv("DYNAMO_HOME", str(link))

    if refused:
        with pytest.raises(DeploymentError, match="the state directory belongs to another user"):
            state_dir.root()
    else:
        assert state_dir.root() == link
