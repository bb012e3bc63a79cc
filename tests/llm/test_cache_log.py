import asyncio

from dynamo_nb.llm.cache.log import BACKLOG, CHUNK, CacheLog
from dynamo_nb.llm.messages import Load

BOUND = 10


async def read(follower, count):
    return [await asyncio.wait_for(anext(follower), BOUND) for _ in range(count)]


def replayed(events):
    held = set()
    for event in events:
        if event.cleared:
            held.clear()
        held -= set(event.removed)
        held |= set(event.stored)
    return held


async def test_a_follower_receives_the_content_and_then_each_change():
    log = CacheLog()
    log.stored([1, 2])
    log.loaded(Load(running=1))
    follower = log.follow()
    begin = await read(follower, 2)
    log.stored([2, 3])
    log.removed([1, 9])
    log.loaded(Load(running=2))
    events = begin + await read(follower, 3)
    assert [event.number for event in events] == [0, 1, 2, 3, 4]
    assert events[0].cleared
    assert events[0].load == Load(running=1)
    assert events[2].stored == [3]
    assert events[3].removed == [1]
    assert events[4].load == Load(running=2)
    assert replayed(events) == {2, 3}


async def test_calls_that_change_nothing_are_not_published():
    log = CacheLog()
    follower = log.follow()
    await read(follower, 1)
    log.stored([])
    log.removed([5])
    log.loaded(Load())
    log.loaded(Load())
    log.stored([1])
    assert [event.stored for event in await read(follower, 2)] == [[], [1]]


async def test_a_large_cache_is_sent_in_chunks():
    log = CacheLog()
    log.stored(range(CHUNK + 1))
    events = await read(log.follow(), 3)
    assert [len(event.stored) for event in events] == [0, CHUNK, 1]


async def test_a_slow_follower_receives_the_whole_content_again():
    log = CacheLog()
    follower = log.follow()
    await read(follower, 1)
    for block in range(BACKLOG + 1):
        log.stored([block])
    (again,) = await read(follower, 1)
    assert again.cleared
    assert again.number == 1
    assert replayed([again, *await read(follower, 1)]) == set(range(BACKLOG + 1))


async def test_a_closed_follower_is_removed():
    log = CacheLog()
    follower = log.follow()
    await read(follower, 1)
    await follower.aclose()
    assert not log._followers
