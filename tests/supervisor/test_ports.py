"""The HTTP ports of services."""

import os
import socket

import pytest

from dynamo_nb.errors import PlacementError
from dynamo_nb.supervisor.ports import Ports


def listening(port=0, reuse=False):
    server = socket.socket()
    if reuse:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    return server


@pytest.fixture
def ports():
    """Returns a function that makes Ports; their ports are released after the test."""
    made = []

    def make(first):
        made.append(Ports("127.0.0.1", first))
        return made[-1]

    yield make
    for each in made:
        for service in list(each._held):
            each.release(service)


@pytest.fixture
def free_port():
    with listening() as server:
        return server.getsockname()[1]


def test_a_service_keeps_its_port_and_the_next_service_gets_another(ports, free_port):
    held = ports(free_port)

    assert held.reserve("Frontend") == held.reserve("Frontend") == ("127.0.0.1", free_port)
    assert held.reserve("Admin")[1] != free_port


def test_zero_reserves_any_free_port(ports):
    assert ports(0).reserve("Frontend")[1] > 0


def test_an_error_about_a_port_in_use_names_the_process(ports):
    with listening() as server:
        port = server.getsockname()[1]
        with pytest.raises(PlacementError, match=rf"port {port} is in use by process {os.getpid()} \(") as error:
            ports(port).reserve("Frontend")

    assert "--http-port" in error.value.remedy


def test_a_reserved_port_is_in_use_before_a_worker_listens(ports, free_port):
    ports(free_port).reserve("Frontend")

    with pytest.raises(PlacementError, match=f"port {free_port} is in use"):
        ports(free_port).reserve("Frontend")


def test_a_service_gets_the_port_of_its_configuration(free_port):
    ports = Ports("127.0.0.1", 0, required=False)

    assert ports.reserve("Api", free_port) == ("127.0.0.1", free_port)
    ports.release("Api")


def test_a_required_port_takes_precedence_over_the_configuration(ports, free_port):
    assert ports(free_port).reserve("Api", 1) == ("127.0.0.1", free_port)


def test_an_error_about_a_configured_port_in_use_names_the_process():
    with listening() as server:
        port = server.getsockname()[1]
        with pytest.raises(PlacementError, match=rf"port {port} is in use by process {os.getpid()} ") as error:
            Ports("127.0.0.1", 0, required=False).reserve("Api", port)

    assert "choose another `port` for Api" in error.value.remedy


def test_the_workers_of_a_service_listen_on_one_port(ports, free_port):
    ports(free_port).reserve("Frontend")

    with listening(free_port, reuse=True), listening(free_port, reuse=True):
        pass


def test_a_released_port_can_be_reserved_again_while_old_connections_linger(ports, free_port):
    held = ports(free_port)
    held.reserve("Frontend")
    with listening(free_port, reuse=True) as server, socket.create_connection(("127.0.0.1", free_port)) as client:
        server.accept()[0].close()
        client.recv(1)
    held.release("Frontend")

    assert ports(free_port).reserve("Frontend")[1] == free_port
