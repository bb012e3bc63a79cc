"""The HTTP ports of services."""

import os
import socket

import pytest

from dynamo_nb.errors import PlacementError
from dynamo_nb.supervisor.ports import Ports, configured_port


def listening():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


def as_a_worker(ports, service):
    """The socket of a service in a worker that listens on it."""
    server = ports.socket_of(service).dup()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.listen()
    return server


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


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


@pytest.mark.parametrize("state", ["reserved", "listening", "refused", "reserved again", "refused again"])
def test_a_reserved_port_is_in_use_for_others(ports, free_port, state):
    held = ports(free_port)
    held.reserve("Frontend")
    if state != "reserved":
        with as_a_worker(held, "Frontend") as server, connect(free_port) as client:
            server.accept()[0].close()
            client.recv(1)
        if state != "listening":
            held.refuse("Frontend")
    if state.endswith("again"):  # while old connections linger
        held.release("Frontend")
        held.reserve("Frontend")
    if state == "refused again":
        with as_a_worker(held, "Frontend"):
            held.refuse("Frontend")

    with pytest.raises(PlacementError, match=f"port {free_port} is in use"):
        ports(free_port).reserve("Frontend")


@pytest.mark.parametrize("first", ["given", "drawn"])
def test_connections_are_refused_without_a_worker_and_the_port_stays(ports, free_port, first):
    held = ports(free_port if first == "given" else 0)
    _, port = held.reserve("Frontend")

    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            connect(port)
        with as_a_worker(held, "Frontend") as server, connect(port), server.accept()[0]:
            pass
        held.refuse("Frontend")

    assert held.reserve("Frontend")[1] == port
    held.refuse("Frontend")
    held.refuse("a service without a port")


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


def test_a_connection_waits_for_another_worker_when_one_closes_its_socket(ports):
    held = ports(0)
    _, port = held.reserve("Frontend")
    old, new = as_a_worker(held, "Frontend"), as_a_worker(held, "Frontend")

    with connect(port) as client, new:
        old.close()
        with new.accept()[0] as accepted:
            accepted.sendall(b"x")
        assert client.recv(1) == b"x"


def test_a_released_port_can_be_reserved_again_while_old_connections_linger(ports, free_port):
    held = ports(free_port)
    held.reserve("Frontend")
    with as_a_worker(held, "Frontend") as server, connect(free_port) as client:
        server.accept()[0].close()
        client.recv(1)
    held.release("Frontend")

    assert ports(free_port).reserve("Frontend")[1] == free_port


@pytest.mark.parametrize(
    ("section", "port"),
    [
        ({"port": 8123}, 8123),
        ({"port": "8123"}, 8123),
        ({"port": 8123.0}, 8123),
        ({"port": 8e3}, 8000),
        ({"common-configs": ["port"]}, 8456),
        ({"port": 8123, "common-configs": ["port"]}, 8123),
        ({"port": None}, None),
        ({"port": True}, None),
        ({"port": "auto"}, None),
        ({"port": 8123.5}, None),
        ({"port": float("inf")}, None),
        ({"port": [8123]}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_configured_port_is_that_which_the_constructor_gets(section, port):
    assert configured_port({"Common": {"port": 8456}, "Frontend": section}, "Frontend") == port


@pytest.mark.parametrize("port", [70000, 65536, -1])
def test_a_number_that_is_no_port_is_an_error(ports, port):
    made = ports(8000)
    made.required = False
    with pytest.raises(PlacementError, match=f"{port} is not a port"):
        made.reserve("Frontend", port)
