"""A worker that dies is replaced, also while others hold all connections that they can get."""

import os
import resource
import signal
import socket
from contextlib import ExitStack

import psutil
import pytest
from load import until

from dynamo_nb.control import state_dir
from dynamo_nb.supervisor.descriptors import RESERVE

pytestmark = pytest.mark.slow

HELD = 150


def connect_to_the_page(deployment):
    connection = socket.create_connection(("127.0.0.1", int(deployment.metrics_url.rpartition(":")[2].split("/")[0])))
    connection.sendall(b"GET /metr")
    return connection


def connect_to_the_control_socket(deployment):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(deployment.folder / state_dir.CONTROL))
    connection.sendall(b'{"id": 1, "verb": "status"}\n')
    return connection


DOORS = {"metrics": connect_to_the_page, "control": connect_to_the_control_socket}


@pytest.mark.parametrize("door", DOORS)
async def test_a_dead_worker_is_replaced_while_connections_are_held(serve, door):
    deployment = await serve()
    supervisor = psutil.Process(deployment.status.pid)
    few = supervisor.num_fds() + RESERVE + 10
    hard = resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (few, hard))
    with ExitStack() as stack:
        for _ in range(HELD):
            stack.enter_context(DOORS[door](deployment))
        (dead,) = deployment.status.services["Frontend"].workers

        os.kill(dead.pid, signal.SIGKILL)

        await until(
            lambda: (
                [w.pid for w in deployment.status.services["Frontend"].workers if w.state == "ready"]
                not in ([], [dead.pid])
            )
        )
        assert supervisor.num_fds() < few
