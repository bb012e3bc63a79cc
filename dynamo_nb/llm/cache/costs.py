"""Policies of KV-aware routing, which score the workers for a request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple

QUEUE_WEIGHT: Final = 1 / 4  # cost of a token that is queued before the prompt; one to compute for the prompt costs 1
REQUEST_WEIGHT: Final = 5  # cost of an active request, in tokens to compute
RECENT_WEIGHT: Final = 0.01  # cost of a token that was placed on the worker recently


class Candidate(NamedTuple):
    """A worker from the point of view of one request.

    Attributes:
        instance_id: The instance.
        overlap: Leading blocks of the prompt that the worker holds.
        blocks: Blocks of the prompt.
        usage: Share of the worker's KV cache in use, 0 to 1.
        waiting: Requests that wait there.
        active_blocks: KV blocks of the requests that were placed there and have not ended.
        active: Number of these requests.
        expected: Leading blocks of the prompt that the worker holds or is about to compute for other requests.
        uncached: Tokens of the prompt that it has to compute. If no worker has queued requests, the tokens of a
            beginning that many prompts share count less, since the later ones profit.
        queued: Tokens that it has to compute before, for the requests that were placed there.
        recent: Tokens of the prompts that were placed there recently.
    """

    instance_id: int
    overlap: int
    blocks: int
    usage: float
    waiting: int
    active_blocks: int
    active: int
    expected: int = 0
    uncached: float = 0.0
    queued: int = 0
    recent: float = 0.0


def first_token_scores(candidates: Sequence[Candidate], tokens: int) -> list[float]:
    """Returns the negative cost until the first token of each candidate, in lengths of the prompt. The highest wins.

    The cost is `uncached + queued / 4 + 5 · active + recent / 100` tokens. A token to compute for the prompt also
    delays later requests on that worker and displaces blocks of others, so it counts four times as much as a token to
    wait for. The last two terms decide between workers that would be equally fast: they distribute the answers, and
    keep every worker in use.

    Args:
        candidates: The workers.
        tokens: Tokens of the prompt.
    """
    length = tokens or 1  # an empty prompt is refused by the worker
    return [
        -(one.uncached + QUEUE_WEIGHT * one.queued + REQUEST_WEIGHT * one.active + RECENT_WEIGHT * one.recent) / length
        for one in candidates
    ]


def overlap_scores(candidates: Sequence[Candidate], tokens: int, block_size: int) -> list[float]:
    """Returns `2 · overlap - usage - waiting` of each candidate, the policy of the Dynamo document. The highest wins.

    `overlap` is the share of the prompt's tokens that the worker holds; `waiting` is relative to the candidate with the
    most waiting requests.

    Args:
        candidates: The workers.
        tokens: Tokens of the prompt.
        block_size: Tokens in a block.
    """
    most = max((candidate.waiting for candidate in candidates), default=0) or 1
    tokens = tokens or 1  # an empty prompt is refused by the worker
    return [2 * one.overlap * block_size / tokens - one.usage - one.waiting / most for one in candidates]


def block_scores(
    candidates: Sequence[Candidate], *, prefill_weight: float = 1.0, request_weight: float = 0.0
) -> list[float]:
    """Returns `-(blocks to prefill + active blocks)` of each candidate, Dynamo's policy. The highest wins.

    Args:
        candidates: The workers.
        prefill_weight: Cost of a block to prefill, where an active block costs 1.
        request_weight: Cost of each active request, in blocks.
    """
    return [
        -(prefill_weight * max(0, one.blocks - one.overlap) + one.active_blocks + request_weight * one.active)
        for one in candidates
    ]


def choose(scores: Sequence[float], temperature: float, random: Random) -> int:
    """Returns the index of the highest score, or of any score if the temperature is above 0.

    Args:
        scores: The scores.
        temperature: 0 for the best score, or a random one of equal best scores; above 0, a random choice with
            probabilities by softmax.
        random: The source of random numbers.
    """
    best = max(scores)
    if temperature > 0:
        weights = [math.exp((score - best) / temperature) for score in scores]
        return random.choices(range(len(scores)), weights)[0]
    return random.choice([index for index, score in enumerate(scores) if score == best])
