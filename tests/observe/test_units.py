"""Numbers as text."""

import pytest

from dynamo_nb.observe.units import digits, duration, memory, tick_label, ticks


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 µs"),
        (4e-7, "0.40 µs"),
        (2.5e-4, "250 µs"),
        (8.5e-4, "850 µs"),
        (0.9996e-3, "1.00 ms"),
        (0.01234, "12.3 ms"),
        (61, "61.0 s"),
        (75.25, "75.2 s"),
        (1234, "1,234 s"),
    ],
)
def test_a_duration_has_three_digits_and_a_unit(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.001, "0"), (0.123456, "0.12"), (9.996, "10.0"), (99.96, "100"), (12345.6, "12,346")],
)
def test_a_number_has_about_three_digits(value, text):
    assert digits(value) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        *((0, "0 KiB"), (512_000, "500 KiB"), (2**20, "1 MiB"), (2**20 - 1, "1 MiB"), (2**27, "128 MiB")),
        *((1020 * 2**20, "1,020 MiB"), (2**30 - 1, "1 GiB"), (70.4 * 2**30, "70.4 GiB"), (999 * 2**10, "999 KiB")),
    ],
)
def test_memory_has_three_digits_and_a_unit(size, text):
    assert memory(size) == text


@pytest.mark.parametrize("seconds", [1e-6, 3e-4, 0.019, 0.04, 1.0, 7.3, 400])
def test_an_axis_has_a_few_round_moments(seconds):
    moments = ticks(seconds)
    assert 2 <= len(moments) <= 7
    assert moments[-1] <= seconds * 1.0001
    labels = [tick_label(moment, moments[1]) for moment in moments]
    assert len(set(labels)) == len(labels)
