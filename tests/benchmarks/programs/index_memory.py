"""The memory of a router's index of ten million blocks, told by a thousand workers in events as they come.

Usage: index_memory.py HOLDERS        workers that hold a tenth of the blocks; 1 of them holds each of the others
"""

import resource
import sys
from random import Random

import msgspec
from index_blocks import SEED, new_names, on_the_wire
from place import tell

from dynamo_nb.llm.cache.index import BlockIndex
from dynamo_nb.llm.messages import WorkerEvent

BLOCKS, WORKERS = 10_000_000, 1000
EVENT = 40  # blocks of an event
SHARED = 0.1  # of the blocks, held by HOLDERS workers


def peak():
    """The most resident memory that this process has had, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fill(index, holders):
    """Each worker gets the names from the bytes of an event of its own, as it does from the wire."""
    random, decode = Random(SEED), msgspec.msgpack.Decoder(WorkerEvent).decode
    for _ in range(BLOCKS // EVENT):
        sent = on_the_wire(new_names(random, EVENT))
        for worker in random.sample(range(WORKERS), holders if random.random() < SHARED else 1):
            index.stored(worker, decode(sent).stored)


if __name__ == "__main__":
    index = BlockIndex()
    start = peak()
    fill(index, int(sys.argv[1]))
    used = peak() - start
    assert len(index) == BLOCKS
    tell({"gigabytes": used / 1e9, "bytes_per_block": used / BLOCKS})
