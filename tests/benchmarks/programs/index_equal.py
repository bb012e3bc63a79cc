"""Random events, applied to the index of a KV-aware router and to its peer: both have to find the same.

Blocks are those of prompts with beginnings in common. Engines hold the beginnings of prompts, as a radix tree needs it:
what a worker stores follows what it holds (a part may be held already), and what it removes is a tail, last block first.
A worker may clear its cache, or go and come again.

Blocks removed from the middle of a prompt are not compared, since the two differ then: both find what stands before the
gap, but once the missing block is stored again, the peer has forgotten what followed it in the same node of its tree
(a later removal or store that names it is an error there), while here it is found again, as in the engine's cache.

Usage: index_equal.py [EVENTS]
"""

import importlib.util
import os
import sys
from random import Random

from index_blocks import SEED, WORKERS, new_names, removed, stored
from place import LOOPBACK, skip, tell

from dynamo_nb.llm.cache.index import BlockIndex

os.environ.update(LOOPBACK, DYN_LOG="error")
EVENTS = 1_000_000
TOPICS, TURNS, CONVERSATIONS = (
    8,
    16,
    40,
)  # beginnings that prompts share; turns of each; conversations from each turn on
BLOCKS = 12  # of a topic's turn, and of a conversation at most
ASKED = 10  # events between two questions
CLEARED, GONE, REMOVED = 0.001, 0.002, 0.4  # of all events; the others store


def prompts(random):
    """Names of blocks: topics that grow turn by turn, and conversations that branch off at every turn."""
    made = []
    for _ in range(TOPICS):
        names = []
        for _ in range(TURNS):
            names = names + new_names(random, random.randint(1, BLOCKS))
            made += [names + new_names(random, random.randint(0, BLOCKS)) for _ in range(CONVERSATIONS)]
    return made


class Engine:
    """What one worker holds: a tree of blocks, told in the events of both indexes."""

    def __init__(self):
        self.children = {}  # block to how many blocks that follow it are held

    def store(self, names, random):
        """The names that it stores, and the one before them; none if it holds the prompt already."""
        held = next((at for at, name in enumerate(names) if name not in self.children), len(names))
        if held == len(names):
            return [], None
        first, end = random.randint(0, held), random.randint(held + 1, len(names))
        for at in range(held, end):
            self.children[names[at]] = 0
            if at:
                self.children[names[at - 1]] += 1
        return names[first:end], names[first - 1] if first else None

    def remove(self, names, random):
        """The tail of what it holds of a prompt, as far as nothing else follows it."""
        end = next((at for at, name in enumerate(names) if name not in self.children), len(names))
        gone, most = [], random.randint(1, BLOCKS)
        while end and len(gone) < most and not self.children[names[end - 1]]:
            end -= 1
            gone.append(names[end])
            del self.children[names[end]]
            if end:
                self.children[names[end - 1]] -= 1
        return gone


def differences(count):
    """Questions that the two answered differently, after some of `count` events and for every prompt at the end."""
    from dynamo.llm import RadixTree

    random, index, peer = Random(SEED), BlockIndex(), RadixTree()
    asked = prompts(random)
    engines = [Engine() for _ in range(WORKERS)]
    different = questions = applied = 0

    def ask(names):
        nonlocal different, questions
        theirs = {worker: blocks for (worker, _), blocks in peer.find_matches(names).scores.items()}
        questions += 1
        different += index.find(names) != theirs

    while applied < count:
        worker, names, kind = random.randrange(WORKERS), random.choice(asked), random.random()
        if kind < CLEARED:
            peer.clear_all_blocks(worker)
        elif kind < CLEARED + GONE:
            peer.remove_worker(worker)
        if kind < CLEARED + GONE:
            index.drop(worker)
            engines[worker] = Engine()
        elif kind < CLEARED + GONE + REMOVED:
            if not (gone := engines[worker].remove(names, random)):
                continue
            peer.apply_event(worker, removed(gone))
            index.removed(worker, gone)
        else:
            new, before = engines[worker].store(names, random)
            if not new:
                continue
            peer.apply_event(worker, stored(new, before))
            index.stored(worker, new)
        applied += 1
        if applied % ASKED == 0:
            ask(random.choice(asked))
    for names in asked:
        ask(names)
    return {"different": different, "questions": questions, "held": len(index)}


if __name__ == "__main__":
    if importlib.util.find_spec("dynamo") is None or importlib.util.find_spec("dynamo.llm") is None:
        skip("no ai-dynamo-runtime")
    tell(differences(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS))
