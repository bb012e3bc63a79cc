"""Continuous batching: runs each step and admits waiting sequences.

A step is chunked prefill, one decode step, and sampling.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dynamo_nb.llm.engines.torch.batch import TorchBatch, TorchPrompt
from dynamo_nb.llm.engines.torch.model import TorchModel
from dynamo_nb.llm.engines.torch.sampling import sample
from dynamo_nb.llm.engines.torch.sequence import TorchSequence
from dynamo_nb.llm.messages import Logprobs

if TYPE_CHECKING:
    from torch import Tensor

CHUNK: Final = 512  # tokens of prompts, approximately, that are computed between two tokens of running sequences


@dataclass
class Step:
    """The result of one step.

    Attributes:
        started: Sequences that left the waiting queue.
        results: `(sequence, tokens, logprobs, finish)` of each sequence that has a new token or has ended.
    """

    started: list[TorchSequence] = field(default_factory=list)
    results: list[tuple[TorchSequence, list[int], list[Logprobs], str]] = field(default_factory=list)


class TorchScheduler:
    """Advances sequences, at most `slots` at the same time; others wait in the order of their arrival.

    All methods are called in one thread, in torch's inference mode.
    """

    def __init__(self, model: TorchModel, slots: int) -> None:
        self.model = model
        self._slots = slots
        self._waiting: deque[TorchSequence] = deque()
        self._prompt: TorchPrompt | None = None
        self._batch = TorchBatch(model)

    @property
    def idle(self) -> bool:
        """True if no sequence is running or waiting."""
        return not (self._waiting or self._prompt or self._batch.sequences)

    def add(self, sequence: TorchSequence) -> None:
        """Adds a sequence to the waiting queue."""
        self._waiting.append(sequence)

    def drop(self, sequence: TorchSequence) -> None:
        """Ends a sequence in any state; its slot is free in the next step."""
        sequence.finish = "abort"
        with suppress(ValueError):
            self._waiting.remove(sequence)

    def step(self) -> Step:
        """Computes about CHUNK tokens of prompts, and the next token of every sequence whose prompt is computed."""
        import torch

        step = Step()
        self._batch.remove_ended()
        ready, logits = self._prefill(step)
        rows = [*self._batch.sequences, *(prompt.sequence for prompt in ready)]
        if self._batch.sequences:
            logits.insert(0, self._batch.step())
        if not rows:
            return step
        tokens, logprobs = sample(torch.cat(logits) if len(logits) > 1 else logits[0], rows)
        for sequence, token, entry in zip(rows, tokens, logprobs, strict=True):
            is_part = sequence.take(token)
            step.results.append(
                (sequence, [token] if is_part else [], [entry] if is_part and entry else [], sequence.finish),
            )
        if unfinished := [prompt for prompt in ready if not prompt.sequence.finish]:
            self._batch.join(unfinished)
        self._batch.remove_ended()
        return step

    def _prefill(self, step: Step) -> tuple[list[TorchPrompt], list[Tensor]]:
        """The prompts that this step completes, and the logits after each."""
        ready: list[TorchPrompt] = []
        found: list[Tensor] = []
        budget = CHUNK
        while budget > 0 and (prompt := self._next_prompt(step, len(ready))) is not None:
            before = prompt.computed
            logits = prompt.advance(self.model, CHUNK)
            budget -= prompt.computed - before
            if logits is not None:
                self._prompt = None
                ready.append(prompt)
                found.append(logits)
        return ready, found

    def _next_prompt(self, step: Step, ready: int) -> TorchPrompt | None:
        if self._prompt is not None and self._prompt.sequence.finish:
            self._prompt = None
        while self._prompt is None and self._waiting and len(self._batch.sequences) + ready < self._slots:
            sequence = self._waiting.popleft()
            if not sequence.finish:
                step.started.append(sequence)
                self._prompt = TorchPrompt(sequence)
        return self._prompt
