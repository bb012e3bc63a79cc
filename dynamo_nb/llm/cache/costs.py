"""What speaks for a worker: two policies of KV-aware routing, as functions of what is known of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import NamedTuple


class Candidate(NamedTuple):
    """A worker as a request sees it.

    overlap: leading blocks of the prompt that it holds, of `blocks`. usage: the share of its KV cache in use, 0 to 1.
    waiting: requests before this one. active_blocks: KV blocks of the requests that were placed on it.
    """

    instance_id: int
    overlap: int
    blocks: int
    usage: float
    waiting: int
    active_blocks: int
    active: int


def overlap_scores(candidates: Sequence[Candidate], tokens: int, block_size: int) -> list[float]:
    """`2 · overlap - usage - waiting`, the Dynamo document's policy: the highest wins.

    overlap: the share of the prompt's tokens that are held. waiting: against the most of all candidates.
    """
    most = max((candidate.waiting for candidate in candidates), default=0) or 1
    tokens = tokens or 1  # of an empty prompt nothing is held; the worker says what is wrong with it
    return [2 * one.overlap * block_size / tokens - one.usage - one.waiting / most for one in candidates]


def block_scores(
    candidates: Sequence[Candidate], *, prefill_weight: float = 1.0, request_weight: float = 0.0
) -> list[float]:
    """`-(blocks to prefill + blocks decoding)`, today's policy of Dynamo: the highest wins.

    prefill_weight: of a block to prefill against one that is decoded. request_weight: blocks that one more request on
    the worker counts for.
    """
    return [
        -(prefill_weight * max(0, one.blocks - one.overlap) + one.active_blocks + request_weight * one.active)
        for one in candidates
    ]


def choose(scores: Sequence[float], temperature: float, random: Random) -> int:
    """The place of the highest score, any of those that share it; above 0 degrees by the softmax of all."""
    best = max(scores)
    if temperature > 0:
        weights = [math.exp((score - best) / temperature) for score in scores]
        return random.choices(range(len(scores)), weights)[0]
    return random.choice([place for place, score in enumerate(scores) if score == best])
