"""The histogram of durations and its percentiles."""

import random

import pytest

from dynamo_nb.observe.latencies import GROWTH, Latencies

SHARES = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)


@pytest.mark.parametrize("scale", [1e-3, 40.0])
def test_percentiles_are_within_half_a_bucket(scale):
    random.seed(7)
    values = sorted(random.lognormvariate(0, 1.5) * scale for _ in range(5000))
    latencies = Latencies()
    for value in values:
        latencies.add(value)

    found = latencies.percentiles(SHARES)

    exact = [values[max(0, -(-int(share * 1e6) * 5000 // 10**6) - 1)] for share in SHARES]
    assert found == pytest.approx(exact, rel=GROWTH - 1)
    assert found[-1] == values[-1]
    assert latencies.mean == pytest.approx(sum(values) / 5000)


def test_one_duration_is_every_percentile_of_itself():
    latencies = Latencies()
    latencies.add(0.01234)

    assert latencies.percentiles(SHARES) == [0.01234] * len(SHARES)


def test_a_duration_of_zero_is_counted():
    latencies = Latencies()
    latencies.add(0.0)

    assert (latencies.count, latencies.percentiles([0.5])) == (1, [0.0])


def test_a_hundred_thousand_durations_need_few_buckets():
    latencies = Latencies()
    for number in range(1, 100_000):
        latencies.add(number * 1e-5)

    assert len(latencies._counts) < 1500
    assert latencies.count == 99_999
