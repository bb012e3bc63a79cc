"""Rates and latencies from the counters of meters."""

from bisect import bisect_left
from collections import Counter
from random import Random
from time import perf_counter

import pytest

from dynamo_nb.observe.traffic import TrafficWindow, quantile
from dynamo_nb.runtime.meters import FINE_BOUNDS, Meter


def numbers(at, workers, edges=(), usage=None):
    services = {}
    for (service, worker), meter in workers.items():
        known = services.setdefault(service, {"workers": {}, "usage": usage or {}})
        known["workers"][worker] = {"say": meter.read()}
    between = [{"source": a, "target": b, "endpoint": "say", **m.read()} for (a, b), m in dict(edges).items()]
    return {"at": at, "services": services, "edges": between}


def calls(meter, count, error=""):
    for _ in range(count):
        meter.end(meter.begin(), error)


def test_a_rate_is_computed_from_two_readings():
    one, two, window = Meter(), Meter(), TrafficWindow()
    workers = {("Backend", "a"): one, ("Backend", "b"): two}
    calls(one, 100)
    assert window.add(numbers(10.0, workers)).services["Backend"].rate == 0
    calls(one, 30)
    calls(two, 10)
    traffic = window.add(numbers(12.0, workers))
    assert traffic.services["Backend"].rate == 20
    assert traffic.workers["Backend", "a"].rate == 15
    assert traffic.endpoints["Backend", "say"].rate == 20


def test_readings_older_than_the_window_are_dropped():
    meter, window = Meter(), TrafficWindow(span=3)
    workers = {("Backend", "a"): meter}
    window.add(numbers(0.0, workers))
    calls(meter, 300)
    for at in (1.0, 2.0, 3.0):
        assert window.add(numbers(at, workers)).services["Backend"].rate == 300 / at
    assert window.add(numbers(4.0, workers)).services["Backend"].rate == 0


def test_errors_and_current_requests_are_counted():
    meter, window = Meter(), TrafficWindow()
    workers = {("Backend", "a"): meter}
    calls(meter, 5, "endpoint")
    window.add(numbers(0.0, workers))
    calls(meter, 4, "endpoint")
    meter.begin()
    load = window.add(numbers(2.0, workers)).services["Backend"]
    assert (load.errors, load.failed, load.in_flight) == (2, 9, 1)


def test_edges_are_summed_over_endpoints_and_callers():
    meter, window = Meter(), TrafficWindow()
    window.add(numbers(0.0, {}, {("Frontend", "Backend"): meter}))
    calls(meter, 8)
    assert window.add(numbers(1.0, {}, {("Frontend", "Backend"): meter})).edges["Frontend", "Backend"].rate == 8


def test_memory_is_listed_by_worker_where_it_is_known():
    usage = {"a": {"memory": 5, "gpu_memory": None}, "b": {"memory": 7, "gpu_memory": 3}}
    traffic = TrafficWindow().add(numbers(0.0, {("Backend", "a"): Meter()}, usage=usage))
    assert traffic.memory == {"a": 5, "b": 7}
    assert traffic.gpu_memory == {"b": 3}


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("median", [0.00005, 0.001, 0.107, 0.241, 2.5, 10.0, 300.0])
def test_a_quantile_of_live_traffic_is_that_of_the_durations(median, q):
    generator = Random(f"{median} {q}")
    durations = [median * generator.lognormvariate(0, 0.3) for _ in range(5000)]
    counts = Counter(bisect_left(FINE_BOUNDS, seconds) for seconds in durations)
    exact = sorted(durations)[int(q * len(durations)) - 1]
    assert quantile(counts, q) == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize(
    ("counts", "value"),
    [({}, None), ({5: 0}, None), ({0: 1}, FINE_BOUNDS[0]), ({len(FINE_BOUNDS): 3}, FINE_BOUNDS[-1])],
    ids=["of nothing", "of an empty bucket", "below every bound", "above every bound"],
)
def test_a_quantile_at_the_ends(counts, value):
    assert quantile(counts, 1.0) == value


def test_percentiles_are_of_the_calls_since_the_earlier_reading():
    meter, window = Meter(), TrafficWindow()
    workers = {("Backend", "a"): meter}
    for _ in range(100):
        meter.end(perf_counter() - 5)
    window.add(numbers(0.0, workers))
    for _ in range(10):
        meter.end(perf_counter() - 0.107)
    load = window.add(numbers(1.0, workers)).services["Backend"]
    assert (load.p50, load.p99) == (pytest.approx(0.107, rel=0.03), pytest.approx(0.107, rel=0.03))
