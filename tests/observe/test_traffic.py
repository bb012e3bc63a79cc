"""Rates and latencies from the counters of meters."""

import math
from itertools import accumulate

import pytest

from dynamo_nb.observe.traffic import TrafficWindow, quantile
from dynamo_nb.runtime.meters import BOUNDS, Meter

BUCKETS = (*map(str, BOUNDS), "+Inf")


def reading_of(meter):
    """A meter's reading as a deployment reports it."""
    reading = meter.read()
    for name in ("seconds", "first_item_seconds"):
        counts = reading[name].pop("counts")
        reading[name]["buckets"] = dict(zip(BUCKETS, accumulate(counts), strict=True))
    return reading


def numbers(at, workers, edges=(), usage=None):
    services = {}
    for (service, worker), meter in workers.items():
        known = services.setdefault(service, {"workers": {}, "usage": usage or {}})
        known["workers"][worker] = {"say": reading_of(meter)}
    between = [{"source": a, "target": b, "endpoint": "say", **reading_of(m)} for (a, b), m in dict(edges).items()]
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


@pytest.mark.parametrize(
    ("q", "counts", "value"),
    [
        (0.5, [0, 10, 10], 1.5),
        (0.5, [10, 10, 10], 0.5),
        (0.99, [50, 100, 100], 1.98),
        (0.99, [50, 50, 100], 2.0),
        (0.5, [0, 0, 0], None),
    ],
    ids=["in a later bucket", "in the first", "near the end", "above every bound", "of nothing"],
)
def test_a_quantile_is_spread_evenly_within_its_bucket(q, counts, value):
    assert quantile((1.0, 2.0, math.inf), counts, q) == pytest.approx(value)
