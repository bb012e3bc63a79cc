"""The default policy of routers against all others, under every load of the benchmark `routing`, in simulated time."""

import functools

import pytest
from simulated_routing import BLOCK, DEFAULT, LOADS, WORKERS, Load, simulate, summary

from dynamo_nb.llm.workload import conversations, oracle

STRONGEST = ("overlap", "blocks, prefill_weight 8", "round_robin")  # one of them is the best other, wherever it matters
MARGIN = 1.1


SEEDS = {"one system prompt": 3}  # its 99th percentile is decided by the first requests of each replay
MANY = ("unrelated prompts", "mixed", "bursts", "workers added and killed")  # loads that several routers can spoil
CASES = [*((load, 1) for load in LOADS), *((load, 4) for load in MANY)]


@functools.cache
def measured(load, way, routers):
    return summary(load, way, routers, SEEDS.get(load, 1))


@pytest.mark.parametrize(("load", "routers"), CASES)
def test_the_default_policy_is_within_a_tenth_of_the_best_other_one(load, routers):
    ours = measured(load, DEFAULT, routers)
    others = [measured(load, way, routers) for way in STRONGEST]
    assert ours.median <= MARGIN * min(other.median for other in others)
    assert ours.p99 <= MARGIN * min(other.p99 for other in others)


@pytest.mark.parametrize("load", LOADS)
def test_no_worker_starves(load):
    assert measured(load, DEFAULT, 1).least > 0.5


def test_with_a_shared_prompt_the_policy_of_the_document_uses_one_worker():
    assert measured("one system prompt, slowly", "overlap", 1).least == 0


def test_one_conversation_stays_on_its_worker():
    load = Load(conversations(0, sessions=1, turns=40, think=0.1))
    result = simulate(load, DEFAULT)
    assert sorted(result.requests)[:-1] == [0] * (WORKERS - 1)
    assert result.hit_rate == pytest.approx(oracle(load.workload, BLOCK))


def test_the_same_load_has_the_same_result():
    load = "workers added and killed"
    assert summary(load, DEFAULT, 4, size=0.2) == summary(load, DEFAULT, 4, size=0.2)
