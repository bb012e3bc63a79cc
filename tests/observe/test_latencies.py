"""Durations in buckets, and their percentiles."""

import random

import pytest

from dynamo_nb.observe.latencies import GROWTH, Latencies

SHARES = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)


@pytest.mark.parametrize("scale", [1e-3, 40.0])
def test_percentiles_are_off_by_half_a_bucket_at_most(scale):
    random.seed(7)
    values = sorted(random.lognormvariate(0, 1.5) * scale for _ in range(5000))
    measured = Latencies()
    for value in values:
        measured.add(value)

    found = measured.percentiles(SHARES)

    exact = [values[max(0, -(-int(share * 1e6) * 5000 // 10**6) - 1)] for share in SHARES]
    assert found == pytest.approx(exact, rel=GROWTH - 1)
    assert found[-1] == values[-1]
    assert measured.mean == pytest.approx(sum(values) / 5000)


def test_one_duration_is_every_percentile_of_itself():
    measured = Latencies()
    measured.add(0.01234)

    assert measured.percentiles(SHARES) == [0.01234] * len(SHARES)


def test_what_is_shorter_than_can_be_told_counts():
    measured = Latencies()
    measured.add(0.0)

    assert (measured.count, measured.percentile(0.5)) == (1, 0.0)


def test_a_million_durations_take_no_more_room_than_their_buckets():
    measured = Latencies()
    for number in range(1, 100_000):
        measured.add(number * 1e-5)

    assert len(list(measured)) < 1500
    assert sum(count for _, count in measured) == 99_999
