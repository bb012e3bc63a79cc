"""The table of a deployment's load."""

import re

from dynamo_nb.control.status import ServiceStatus, WorkerStatus
from dynamo_nb.observe.top import HEAD, Top
from dynamo_nb.observe.traffic import Load, Traffic


def worker(index, state="ready", gpus=()):
    restarts = 3 * index
    return WorkerStatus(index=index, id=f"w{index}", state=state, gpus=tuple(gpus), started=1000.0, restarts=restarts)


SERVICES = {
    "Backend": ServiceStatus(state="ready", desired=2, workers=(worker(0, gpus=["0"]), worker(1, "starting", ["1"]))),
    "Unused": ServiceStatus(desired=1),
}
LOAD = Load(rate=1234.5, p50=0.0123, p99=1.5, in_flight=64, errors=0.5, failed=7)
TRAFFIC = Traffic(
    {"Backend": LOAD},
    workers={("Backend", "w0"): LOAD},
    memory={"w0": 2**27, "w1": 2**20},
    gpu_memory={"w0": 7 * 10**10},
    cpu={"w0": 99.6, "w1": 150.0},
)


def test_each_service_and_each_worker_has_a_row():
    lines = str(Top.of(SERVICES, TRAFFIC, now=4661.0)).splitlines()
    assert lines[0].split("  ")[-1].strip() == HEAD[-1]
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "Backend ready 1/2 1,234 12.3 ms 1.50 s 64 0.50 7 250 % 129 MiB 0,1 3",
        "Backend[0] ready 1,234 12.3 ms 1.50 s 64 0.50 7 100 % 128 MiB 0 (65.2 GiB) 1:01:01",
        "Backend[1] starting 150 % 1 MiB 1 3 1:01:01",
    ]


def test_a_service_without_load_has_empty_cells():
    row = Top.of({"Idle": ServiceStatus(state="ready", desired=1)}, Traffic(), now=0.0).rows[0]
    assert row == ("Idle", "ready 0/1", "", "", "", "", "", "", "", "", "", "", "")


def test_a_long_table_names_idle_services_in_one_line_and_shows_workers_only_where_there_are_several():
    idle = {f"Idle{n}": ServiceStatus(state="ready", desired=1, workers=(worker(0),)) for n in range(60)}
    busy = {"Busy": ServiceStatus(state="ready", desired=1, workers=(worker(0),))}
    failed = {"Failed": ServiceStatus(state="failed", desired=1, workers=(worker(0, "failed"),))}
    traffic = Traffic({"Busy": LOAD, "Backend": LOAD}, workers={("Busy", "w0"): LOAD})
    page = Top.of({**idle, **SERVICES, **busy, **failed}, traffic, now=4661.0).html
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in page.split("</tr>")[1:-1]]
    assert [row[0] for row in rows[:-1]] == ["Backend", "Backend[0]", "Backend[1]", "Busy", "Failed"]
    assert rows[3][-1] == "1:01:01"
    assert rows[-1][:4] == ["60", "ready", "and", "idle:"]
    assert "Idle7," in rows[-1]


def test_names_are_escaped():
    services = {"<b>": ServiceStatus(state="ready")}
    assert "<b>" not in Top.of(services, Traffic(), now=0.0).html
