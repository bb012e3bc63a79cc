"""The decisions of a router: scores the workers for a prompt, chooses one, and records the placement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Literal, NamedTuple

from dynamo_nb.llm.cache.costs import Candidate, block_scores, choose, first_token_scores, overlap_scores
from dynamo_nb.llm.cache.log import PlacementLog
from dynamo_nb.llm.cache.worker_table import WorkerTable
from dynamo_nb.llm.messages import OpenPlacement

PlacementPolicy = Literal["first_token", "overlap", "blocks"]
"""A function of `costs` by its name: `first_token_scores`, `overlap_scores` or `block_scores`."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """A policy with its options; see `Router`."""

    policy: PlacementPolicy = "first_token"
    temperature: float = 0.0
    prefill_weight: float = 1.0
    request_weight: float = 0.0

    def scores(self, candidates: Sequence[Candidate], tokens: int, block_size: int) -> list[float]:
        """Returns the score of each candidate for a prompt. The highest wins."""
        if self.policy == "overlap":
            return overlap_scores(candidates, tokens, block_size)
        if self.policy == "blocks":
            return block_scores(candidates, prefill_weight=self.prefill_weight, request_weight=self.request_weight)
        return first_token_scores(candidates, tokens)


class Decision(NamedTuple):
    """A placement with its reasons.

    Attributes:
        placement: The placement.
        candidates: The workers.
        scores: The score of each candidate.
        chosen: Index of the chosen candidate.
    """

    placement: OpenPlacement
    candidates: list[Candidate]
    scores: list[float]
    chosen: int


class Placer:
    """Places prompts on workers.

    Args:
        scoring: The policy.
        router: Identifies this router among others.
        seed: Makes the choice between equal scores repeatable.

    Attributes:
        table: The workers, with the placements of this router and of those whose events are applied to it.
        log: The placements of this router, for the others.
    """

    def __init__(self, scoring: Scoring, router: int = 0, seed: int | None = None) -> None:
        self.scoring, self.router = scoring, router
        self.table = WorkerTable()
        self.log = PlacementLog()
        self._random = Random(seed)  # noqa: S311
        self._numbers = count()

    def place(self, ids: Iterable[int], names: list[int], tokens: int) -> Decision:
        """Chooses a worker for a prompt and records the placement.

        Args:
            ids: The workers to choose from, at least one.
            names: The full blocks of the prompt.
            tokens: Tokens of the prompt.
        """
        candidates = self.table.candidates(ids, names, tokens)
        scores = self.scoring.scores(candidates, tokens, self.table.block_size)
        chosen = choose(scores, self.scoring.temperature, self._random)
        best = candidates[chosen]
        placement = OpenPlacement(next(self._numbers), best.instance_id, tokens, names, best.overlap, best.expected)
        self.table.place(self.router, placement)
        self.log.begun(placement)
        return Decision(placement, candidates, scores, chosen)

    def end(self, placement: OpenPlacement) -> None:
        """Records the end of a placement."""
        self.table.end(self.router, placement.number)
        self.log.ended(placement.number)
