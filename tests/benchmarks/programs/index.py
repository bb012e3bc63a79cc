"""The index of a KV-aware router: finding the overlap of a prompt, and applying what engines have stored.

What each is given is made outside of the time: names of blocks for both; of an event the bytes that the peer wants, which
are JSON, and for ours once the message as it is decoded and once the bytes that a worker sends.

Usage: index.py ours|peer
"""

import importlib.util
import os
import statistics
import sys
import time

import msgspec
from index_blocks import WORKERS, events, on_the_wire, prompts_held, stored
from place import LOOPBACK, skip, tell

from dynamo_nb.llm.cache.index import BlockIndex
from dynamo_nb.llm.messages import WorkerEvent

os.environ.update(LOOPBACK, DYN_LOG="error")
PROMPTS = 400
BLOCKS = WORKERS * 8192  # of all events: a GPU has room for about that many blocks of 64 tokens
ANSWERS = {"events": 8, "prompts": 0}  # blocks of an answer: with events of one block, and without
ROUNDS = 7


def median(work, make=lambda: None):
    """Median seconds of `work(made)`; what it works on is made anew for each round."""
    times = []
    for _ in range(ROUNDS):
        made = make()
        start = time.perf_counter()
        work(made)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def median_find(find, held):
    def find_all(_):
        for names, _ in held:
            find(names)

    return 1e6 * median(find_all) / len(held)


def ours():
    index, held = BlockIndex(), prompts_held(PROMPTS)
    for names, workers in held:
        for worker, count in workers.items():
            index.stored(worker, names[:count])
    assert all(index.find(names) == workers for names, workers in held)
    figures = {"find_us": median_find(index.find, held)}

    decode = msgspec.msgpack.Decoder(WorkerEvent).decode

    def apply(index):
        for worker, event in decoded:
            index.stored(worker, event.stored)

    def decode_and_apply(index):
        for worker, data in sent:
            index.stored(worker, decode(data).stored)

    for kind, answer in ANSWERS.items():
        told = events(BLOCKS, answer)
        decoded = [(worker, WorkerEvent(0, stored=names)) for worker, names, _ in told]
        sent = [(worker, on_the_wire(names)) for worker, names, _ in told]
        figures[f"{kind}_per_s"] = len(told) / median(apply, BlockIndex)
        figures[f"decoded_{kind}_per_s"] = len(told) / median(decode_and_apply, BlockIndex)
    return figures


def peer():
    from dynamo.llm import RadixTree

    index, held = RadixTree(), prompts_held(PROMPTS)
    for names, workers in held:
        for worker, count in workers.items():
            index.apply_event(worker, stored(names[:count]))
    for names, workers in held:
        assert {worker: count for (worker, _), count in index.find_matches(names).scores.items()} == workers
    figures = {"find_us": median_find(index.find_matches, held)}

    def apply(index):
        for worker, data in sent:
            index.apply_event(worker, data)

    for kind, answer in ANSWERS.items():
        sent = [(worker, stored(names, before)) for worker, names, before in events(BLOCKS, answer)]
        # It takes an event in no other form, so that both of ours are compared with the same.
        figures[f"{kind}_per_s"] = figures[f"decoded_{kind}_per_s"] = len(sent) / median(apply, RadixTree)
    return figures


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        tell(ours())
    elif importlib.util.find_spec("dynamo") is None or importlib.util.find_spec("dynamo.llm") is None:
        skip("no ai-dynamo-runtime")
    else:
        tell(peer())
