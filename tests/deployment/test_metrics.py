"""The metrics of a deployment: the page for Prometheus and the same numbers as plain data."""

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request

import psutil
import pytest
from deployed_program import until, workers
from prometheus_client.parser import text_string_to_metric_families

from dynamo_nb.cli.main import run
from dynamo_nb.cli.terminal_host import TerminalHost
from dynamo_nb.errors import DynamoError, EndpointError, PlacementError

pytestmark = pytest.mark.slow

SHORT = 0.2  # seconds for a worker that never finishes its request


@pytest.fixture
def served(program):
    with program.serve("program:Frontend").result() as deployment:
        yield deployment


def page(deployment):
    """The values of the page, by metric and by the values of its labels, which are sorted by name."""
    with urllib.request.urlopen(deployment.metrics_url, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def served_by(deployment, service, endpoint):
    """The number of requests that each worker of a service has served, without those that have served none."""
    known = deployment.metrics().result()["services"][service]["workers"]
    return {worker: ends[endpoint]["requests"] for worker, ends in known.items() if ends[endpoint]["requests"]}


def test_the_page_has_every_endpoint_and_edge(deployment):
    for _ in range(4):
        deployment.Frontend.say("x").result()
    deployment.Backend.say("by hand").result()

    found = page(deployment)

    assert found["dynamo_requests_total", "say", "Frontend", workers(deployment, "Frontend")[0].id] == 4
    backends = {key[3]: value for key, value in found.items() if key[:3] == ("dynamo_requests_total", "say", "Backend")}
    assert set(backends) == {worker.id for worker in workers(deployment).values()}
    assert sum(backends.values()) == 5
    assert found["dynamo_edge_requests_total", "say", "Frontend", "Backend"] == 4
    assert found["dynamo_edge_request_seconds_bucket", "say", "+Inf", "Frontend", "Backend"] == 4
    assert found["dynamo_edge_requests_in_flight", "say", "Frontend", "Backend"] == 0
    assert found["dynamo_edge_bytes_total", "in", "say", "Frontend", "Backend"] > 0
    assert found["dynamo_workers_ready", "Backend"] == found["dynamo_workers_desired", "Backend"] == 2


def test_metrics_returns_the_same_numbers_as_plain_data(deployment):
    with pytest.raises(EndpointError):
        deployment.Frontend.hold("/no/such/folder/gate").result()

    numbers = deployment.metrics().result()

    (edge,) = (edge for edge in numbers["edges"] if edge["endpoint"] == "hold")
    assert (edge["source"], edge["target"], edge["requests"]) == ("Frontend", "Backend", 1)
    assert edge["errors"] == {"endpoint": 1}
    assert page(deployment)["dynamo_edge_errors_total", "endpoint", "hold", "Frontend", "Backend"] == 1


def test_a_worker_whose_loop_is_blocked_reports_its_requests_in_flight(program, tmp_path):
    gate = tmp_path / "gate"
    with program.serve("program:Frontend", grace=SHORT).result() as deployment:

        def block():
            with pytest.raises(DynamoError):
                deployment.Backend.block(str(gate)).result()

        waiting = threading.Thread(target=block)
        waiting.start()
        until(gate.with_suffix(".held").exists)

        known = deployment.metrics().result()["services"]["Backend"]["workers"]

        assert sum(ends["block"]["in_flight"] for ends in known.values()) == 1
    waiting.join()


def test_the_last_report_of_a_worker_counts_while_it_does_not_answer(served):
    for _ in range(2):
        served.Backend.say("x").result()
    before = served_by(served, "Backend", "say")
    stopped = workers(served)[0].pid
    os.kill(stopped, signal.SIGSTOP)
    try:
        after = served_by(served, "Backend", "say")
    finally:
        os.kill(stopped, signal.SIGCONT)

    assert before == after == {worker.id: 1 for worker in workers(served).values()}


def test_the_counts_of_stopped_workers_stay_in_the_sums(served):
    for _ in range(4):
        served.Frontend.say("x").result()

    served.restart("Backend").result()
    served.restart("Frontend").result()

    assert served_by(served, "Backend", "say") == {"ended": 4}
    assert served_by(served, "Frontend", "say") == {"ended": 4}
    assert page(served)["dynamo_edge_requests_total", "say", "Frontend", "Backend"] == 4


def test_the_last_report_of_a_killed_worker_stays_without_requests_in_flight(served, tmp_path):
    gate = tmp_path / "gate"
    holding = threading.Thread(target=served.Frontend.hold(str(gate)).result)
    holding.start()
    until(gate.with_suffix(".held").exists)
    assert served_by(served, "Frontend", "hold")
    (killed,) = workers(served, "Frontend").values()

    os.kill(killed.pid, signal.SIGKILL)
    until(lambda: [w for w in workers(served, "Frontend").values() if w.id != killed.id])

    ended = served.metrics().result()["services"]["Frontend"]["workers"]["ended"]["hold"]
    assert (ended["requests"], ended["in_flight"]) == (1, 0)
    restarted = workers(served, "Frontend")[0].id
    assert page(served)["dynamo_worker_restarts", "Frontend", restarted] == 1
    gate.touch()
    holding.join()


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("dynamo_nb.deployment.deployment", ("prometheus_client", "opentelemetry")),
        ("dynamo_nb.supervisor.supervisor", ("prometheus_client", "opentelemetry")),
        ("dynamo_nb.supervisor.preload", ("prometheus_client", "opentelemetry.sdk")),  # FastAPI has its API
    ],
)
def test_the_start_of_a_deployment_does_not_import_the_libraries_that_show_it(module, absent):
    code = f"import sys, {module}; print([name for name in sys.modules if name.startswith({absent})])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_page_is_on_the_configured_port(program, dynamo_home, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("DYNAMO_METRICS_PORT", str(port))
    with program.serve("program:Frontend").result() as deployment:
        assert deployment.metrics_url == f"http://127.0.0.1:{port}/metrics"
        with pytest.raises(PlacementError, match="the metrics page cannot listen: Address already in use") as caught:
            program.serve("program:Frontend").result()
        assert "--metrics-port" in caught.value.remedy


def test_options_of_the_command_set_the_address_of_the_page(program, dynamo_home):
    class Served(TerminalHost):
        def serve(self, source, options):
            resolved = options.resolve()
            return resolved.metrics_host, resolved.metrics_port

    target = ("serve", "program:Frontend", "--working-dir", str(program.folder))
    assert run([*target, "--metrics-port", "9999", "--metrics-host", "::1"], Served()) == ("::1", 9999)
    assert run(target, Served()) == ("127.0.0.1", 0)


def test_a_deployment_can_end_while_its_page_is_read(program):
    deployment = program.serve("program:Frontend").result()
    port = int(deployment.metrics_url.rpartition(":")[2].removesuffix("/metrics"))
    supervisor = psutil.Process(deployment.status.pid)
    with socket.create_connection(("127.0.0.1", port)) as half:
        half.sendall(b"GET /metr")
        page(deployment)
        deployment.stop().result()
        assert half.recv(1) == b""
    supervisor.wait(30)  # its parent may be slow to reap it


def test_the_memory_of_each_worker_is_reported(deployment):
    services = deployment.metrics().result()["services"]
    for name in ("Frontend", "Backend"):
        assert set(services[name]["usage"]) == {worker.id for worker in workers(deployment, name).values()}
        assert all(used["memory"] > 10_000_000 for used in services[name]["usage"].values())
