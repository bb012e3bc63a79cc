import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_nb.llm.cache.index import BlockIndex

BLOCKS, WORKERS = st.integers(0, 12), st.integers(0, 4)
EVENTS = st.tuples(st.sampled_from(["stored", "removed", "drop"]), WORKERS, st.lists(BLOCKS, max_size=6))

PROGRAMS = Path(__file__).parents[1] / "benchmarks" / "programs"
COMPARED = 20_000  # events; the benchmark compares a million


def leading(held, blocks):
    count = 0
    while count < len(blocks) and blocks[count] in held:
        count += 1
    return count


@given(st.lists(EVENTS, max_size=40), st.lists(BLOCKS, max_size=8))
def test_the_index_knows_what_each_worker_holds(events, prompt):
    index, held = BlockIndex(), {}
    for kind, worker, blocks in events:
        if kind == "stored":
            index.stored(worker, blocks)
            held.setdefault(worker, set()).update(blocks)
        elif kind == "removed":
            index.removed(worker, blocks)
            held.get(worker, set()).difference_update(blocks)
        else:
            index.drop(worker)
            held.pop(worker, None)
    counts = {worker: leading(blocks, prompt) for worker, blocks in held.items()}
    assert index.find(prompt) == {worker: count for worker, count in counts.items() if count}
    assert len(index) == len(set().union(*held.values()))


def test_a_new_worker_does_not_inherit_the_blocks_of_a_removed_one():
    index = BlockIndex()
    index.stored("old", [1, 2])
    index.drop("old")
    index.stored("new", [1])
    assert index.find([1, 2]) == {"new": 1}


def test_removed_workers_leave_nothing_behind():
    index = BlockIndex()
    index.stored("stays", [0])
    for number in range(1, 1000):
        index.stored(number, [0, number])
        index.drop(number)
    assert index.find([0]) == {"stays": 1}
    assert len(index) == 1
    assert len(index._holders) < 10
    assert len(index._workers) < 10


def test_blocks_of_one_event_share_the_set_of_their_holders():
    index = BlockIndex()
    for worker in range(100):
        index.stored(worker, range(1000))
    assert len({id(mask) for mask in index._holders.values()}) == 1
    index.removed(50, range(500))
    assert len({id(mask) for mask in index._holders.values()}) == 2


def test_it_agrees_with_the_index_of_dynamo(figures):
    done = subprocess.run(
        [sys.executable, "index_equal.py", str(COMPARED)], cwd=PROGRAMS, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    if "skipped" in result:
        pytest.skip(result["skipped"])
    figures(**result)
    assert result["questions"] > COMPARED / 10
    assert result["held"]
    assert result["different"] == 0
