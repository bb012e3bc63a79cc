"""The table of what a deployment does."""

import pytest

from dynamo_nb.control.status import ServiceStatus, WorkerStatus
from dynamo_nb.observe.top import HEAD, Top, duration, rate, size
from dynamo_nb.observe.traffic import Load, Traffic


def worker(index, state="ready", gpus=()):
    return WorkerStatus(index=index, id=f"w{index}", state=state, gpus=tuple(gpus), started=1000.0)


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
)


def test_a_service_has_a_line_and_each_of_its_workers():
    lines = str(Top.of(SERVICES, TRAFFIC, now=4661.0)).splitlines()
    assert lines[0].split("  ")[-1].strip() == HEAD[-1]
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "Backend ready 1/2 1,234 12.3 ms 1.5 s 64 0.5 7 135 MB 0,1",
        "Backend[0] ready 1,234 12.3 ms 1.5 s 64 0.5 7 134 MB 0 (70 GB) 1:01:01",
        "Backend[1] starting 1.05 MB 1 1:01:01",
    ]


def test_names_are_words_and_no_markup():
    services = {"<b>": ServiceStatus(state="ready")}
    assert "<b>" not in Top.of(services, Traffic(), now=0.0).html


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (rate(0), ""),
        (rate(0.123456), "0.123"),
        (rate(12345.6), "12,346"),
        (duration(None), ""),
        (duration(0.00025), "250 µs"),
        (duration(0.0123), "12.3 ms"),
        (duration(61), "61 s"),
        (size(0), ""),
        (size(512_000), "512 kB"),
        (size(70.4e9), "70.4 GB"),
    ],
)
def test_numbers_have_three_digits_and_a_unit(shown, said):
    assert shown == said
