from collections import Counter
from random import Random

import pytest

from dynamo_nb.llm.cache.costs import Candidate, block_scores, choose, overlap_scores


def candidate(overlap=0, blocks=128, usage=0.0, waiting=0, active_blocks=0, active=0):
    return Candidate(0, overlap, blocks, usage, waiting, active_blocks, active)


def test_the_example_of_the_dynamo_document():
    """64 of 128 blocks, 30 % of the cache in use, two waiting requests where the other worker has four."""
    one, other = overlap_scores([candidate(64, usage=0.3, waiting=2), candidate(waiting=4)], 128 * 64, 64)
    assert one == pytest.approx(0.2)
    assert other == -1


def test_idle_workers_without_blocks_have_equal_scores():
    assert overlap_scores([candidate(), candidate()], 100, 64) == [0, 0]


@pytest.mark.parametrize(
    ("better", "worse", "weights"),
    [
        (candidate(64), candidate(32), {}),
        (candidate(64, active_blocks=10), candidate(64, active_blocks=11), {}),
        (candidate(0, active_blocks=0), candidate(64, active_blocks=65), {}),
        (candidate(64, active_blocks=65), candidate(0), {"prefill_weight": 2.0}),
        (candidate(active=1), candidate(active=2), {"request_weight": 1.0}),
        (candidate(200), candidate(128, active_blocks=1), {}),
    ],
)
def test_fewer_blocks_to_prefill_and_fewer_active_blocks_score_higher(better, worse, weights):
    one, other = block_scores([better, worse], **weights)
    assert one > other


def test_the_highest_score_is_chosen_or_any_of_equal_ones():
    random = Random(0)
    assert {choose([1.0, 3.0, 2.0], 0, random) for _ in range(50)} == {1}
    assert {choose([3.0, 1.0, 3.0], 0, random) for _ in range(50)} == {0, 2}


def test_with_a_temperature_higher_scores_are_chosen_more_often():
    random = Random(0)
    counts = Counter(choose([0.0, -1.0, -50.0], 1.0, random) for _ in range(1000))
    assert counts[0] > counts[1] > counts[2] == 0
