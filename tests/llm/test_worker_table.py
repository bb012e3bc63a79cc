"""The account that a router keeps of its workers, and the score of the default policy."""

import pytest

from dynamo_nb.llm.cache.costs import Candidate, first_token_scores
from dynamo_nb.llm.cache.placer import Placer, Scoring
from dynamo_nb.llm.cache.worker_table import WorkerTable
from dynamo_nb.llm.messages import Load, OpenPlacement, PlacementEvent, WorkerEvent

BLOCK = 4
NAMES = [1, 2, 3, 4, 5]
TOKENS = 5 * BLOCK + 2
ROUTER, PEER = 7, 8


def stored(*names):
    return WorkerEvent(0, stored=list(names))


def placement(number=0, worker=1, names=NAMES, expected=0, tokens=TOKENS):
    return OpenPlacement(number, worker, tokens, names, 0, expected)


def table(*placements, router=ROUTER):
    result = WorkerTable(BLOCK)
    for each in placements:
        result.place(router, each)
    return result


def one(workers, instance_id=1, names=NAMES, tokens=TOKENS):
    (candidate,) = workers.candidates([instance_id], names, tokens)
    return candidate


@pytest.mark.parametrize(
    ("events", "queued", "expected"),
    [
        ([], TOKENS, 5),
        ([stored(1, 2)], TOKENS - 2 * BLOCK, 5),
        ([stored(1, 2, 3, 4, 5)], 0, 5),
        ([stored(5)], 0, 0),
        ([stored(8, 9)], TOKENS, 5),
        ([stored(1), stored(1)], TOKENS - BLOCK, 5),
        ([WorkerEvent(0, load=Load(running=1))], TOKENS, 5),
    ],
)
def test_tokens_wait_until_the_worker_reports_their_blocks(events, queued, expected):
    workers = table(placement())
    for event in events:
        workers.apply(1, event)
    assert (one(workers).queued, one(workers).expected) == (queued, expected)


@pytest.mark.parametrize("router", [ROUTER, PEER])
def test_the_end_of_a_placement_removes_all_that_it_added(router):
    workers = table(placement(0), placement(1, names=[1, 2, 9], expected=2), router=router)
    assert (one(workers).queued, one(workers).active, one(workers).active_blocks) == (TOKENS + TOKENS - 8, 2, 12)
    workers.end(router, 0)
    workers.end(router, 0)
    assert (one(workers).active, one(workers).expected) == (1, 0)
    workers.end(router, 1)
    assert (one(workers).queued, one(workers).active, one(workers).active_blocks) == (0, 0, 0)
    assert workers.open_placements == 0


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda workers: workers.drop_router(PEER), 1),
        (lambda workers: workers.apply_placements(PEER, PlacementEvent(0, cleared=True)), 1),
        (lambda workers: workers.apply_placements(PEER, PlacementEvent(0, ended=[0])), 1),
        (lambda workers: workers.apply_placements(PEER, PlacementEvent(0, begun=[placement(1)])), 3),
        (lambda workers: workers.apply_placements(PEER, PlacementEvent(0, [placement(1)], cleared=True)), 2),
        (lambda workers: workers.keep([]), 0),
        (lambda workers: workers.forget(1), 2),
    ],
    ids=["router gone", "cleared", "ended", "begun", "content again", "worker gone", "events invalid"],
)
def test_the_placements_of_other_routers_count_while_they_are_open(change, left):
    workers = table(placement())
    workers.apply_placements(PEER, PlacementEvent(0, begun=[placement()]))
    assert one(workers).active == 2
    change(workers)
    assert one(workers).active == left


def test_a_placement_that_outlives_its_worker_is_removed_without_an_error():
    workers = table(placement())
    assert workers.keep([2]) == [1]
    workers.place(ROUTER, placement(1))
    workers.end(ROUTER, 0)
    assert (one(workers).active, one(workers).queued) == (1, TOKENS)


def test_a_prompt_without_full_blocks_waits_for_nothing():
    assert one(table(placement(names=[], tokens=3))).queued == 0


def test_a_beginning_that_many_prompts_share_counts_in_part_while_no_request_waits():
    """Worker 1 holds the beginning; worker 2 is compared for the next prompt with it."""
    placer = Placer(Scoring(), ROUTER, seed=0)
    workers = placer.table
    workers.block_size = BLOCK
    workers.apply(1, stored(1, 2, 3))
    costs = []
    for number in range(4):
        names = [1, 2, 3, 10 + number]
        first, second = workers.candidates([1, 2], names, 4 * BLOCK)
        assert first.uncached == BLOCK
        costs.append(second.uncached)
        placer.end(placer.place([1], names, 4 * BLOCK).placement)
    assert costs == [4 * BLOCK, 4 * BLOCK, BLOCK + 3 * BLOCK / 2, BLOCK + 3 * BLOCK / 3]
    workers.place(PEER, placement(9))
    assert workers.candidates([1, 2], [1, 2, 3, 99], 4 * BLOCK)[1].uncached == BLOCK + 3 * BLOCK / 4
    for number in range(4):
        placer.end(placer.place([1], [1, 2, 3, 30 + number], 4 * BLOCK).placement)
    assert workers.candidates([1, 2], [1, 2, 3, 99], 4 * BLOCK)[1].uncached == BLOCK + 3 * BLOCK / 4


def test_the_turns_of_one_conversation_are_no_shared_beginning():
    placer = Placer(Scoring(), ROUTER, seed=0)
    workers = placer.table
    workers.block_size = BLOCK
    for length in range(2, 12, 2):
        names = list(range(length))
        assert workers.candidates([1, 2], names, length * BLOCK)[1].uncached == length * BLOCK
        placer.end(placer.place([1], names, length * BLOCK).placement)
        workers.apply(1, stored(*names))


def candidate(uncached=100, **fields):
    return Candidate(0, 0, 0, 0.0, 0, 0, fields.pop("active", 0), uncached=uncached, **fields)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (candidate(50), candidate(100)),
        (candidate(queued=10), candidate(queued=20)),
        (candidate(50, queued=190), candidate(100)),
        (candidate(100), candidate(50, queued=210)),
        (candidate(active=1), candidate(active=2)),
        (candidate(recent=100), candidate(recent=200)),
        (candidate(50, active=3, recent=1000), candidate(100)),
    ],
)
def test_the_worker_that_begins_its_answer_first_has_the_higher_score(better, worse):
    one, other = first_token_scores([better, worse], 100)
    assert one > other


def test_an_idle_worker_without_blocks_has_a_score_of_minus_one():
    assert first_token_scores([candidate(100)], 100) == [-1]
