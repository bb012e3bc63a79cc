"""What a KV-aware router is told and asked: blocks that engines have stored, in the form of each index, and prompts.

The peer's `RadixTree` finds blocks by the hash of their own tokens and has to be told what stands before them; here
names are chained, so that one number can be both.
"""

from random import Random

import msgspec

from dynamo_nb.llm.messages import WorkerEvent

WORKERS = 16
PROMPT = 64  # blocks
SEED = 1

_json = msgspec.json.Encoder().encode


def new_names(random, count):
    """Names as `blocks.block_hashes` gives them: 64 bits."""
    return [random.getrandbits(64) for _ in range(count)]


def stored(blocks, before=None):
    """The peer's event. before: the block that the first one follows; None at the beginning."""
    data = {"parent_hash": before, "blocks": [{"block_hash": name, "tokens_hash": name} for name in blocks]}
    return _json({"event_id": 0, "data": {"stored": data}, "dp_rank": 0})


def removed(blocks):
    return _json({"event_id": 0, "data": {"removed": {"block_hashes": blocks}}, "dp_rank": 0})


def prompts_held(count):
    """Prompts, and for each what workers hold of it: `[(names, {worker: leading blocks})]`."""
    random = Random(SEED)
    held = []
    for _ in range(count):
        holders = random.sample(range(WORKERS), random.randint(0, WORKERS))
        held.append((new_names(random, PROMPT), {worker: random.randint(1, PROMPT) for worker in holders}))
    return held


def events(blocks, answer):
    """What 16 engines tell of as many blocks as that: `[(worker, names, the block before them)]`.

    Of each request the prompt's blocks are stored at once, and then `answer` blocks one by one as they are decoded. Every
    fourth prompt is stored by a second worker too.
    """
    random, told = Random(SEED), []
    while blocks > 0:
        names, worker = new_names(random, PROMPT + answer), random.randrange(WORKERS)
        second = [(worker + 1) % WORKERS] if random.random() < 0.25 else []
        told += [(holder, names[:PROMPT], None) for holder in (worker, *second)]
        told += [(worker, [names[at]], names[at - 1]) for at in range(PROMPT, len(names))]
        blocks -= len(names) + PROMPT * len(second)
    return told


def on_the_wire(blocks):
    """Our event, as a worker sends it."""
    return msgspec.msgpack.encode(WorkerEvent(0, stored=blocks))
