"""Which sequences a model goes on with, and when those that wait begin: continuous batching."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dynamo_nb.llm.engines.torch.batch import TorchBatch, TorchPrompt
from dynamo_nb.llm.engines.torch.model import TorchModel
from dynamo_nb.llm.engines.torch.sampling import choose
from dynamo_nb.llm.engines.torch.sequence import TorchSequence
from dynamo_nb.llm.messages import Logprobs

if TYPE_CHECKING:
    from torch import Tensor

CHUNK: Final = 512  # tokens of prompts that are computed between two tokens of those who run, and some more


@dataclass
class Step:
    """What came of a step: the sequences that began, and each that has a token, log probabilities, or an end."""

    begun: list[TorchSequence] = field(default_factory=list)
    made: list[tuple[TorchSequence, list[int], list[Logprobs], str]] = field(default_factory=list)


class TorchScheduler:
    """Moves sequences on, at most `slots` at once; others wait in the order of their arrival.

    All of it is called by one thread, in torch's inference mode.
    """

    def __init__(self, model: TorchModel, slots: int) -> None:
        self.model = model
        self._slots = slots
        self._waiting: deque[TorchSequence] = deque()
        self._prompt: TorchPrompt | None = None
        self._batch = TorchBatch(model)

    @property
    def idle(self) -> bool:
        return not (self._waiting or self._prompt or self._batch.sequences)

    def add(self, sequence: TorchSequence) -> None:
        self._waiting.append(sequence)

    def drop(self, sequence: TorchSequence) -> None:
        """Ends it, wherever it stands; its slot is free at the next step."""
        sequence.finish = "abort"
        with suppress(ValueError):
            self._waiting.remove(sequence)

    def step(self) -> Step:
        """Computes prompts of some CHUNK tokens, and the next token of every sequence whose prompt was computed."""
        import torch

        step = Step()
        self._batch.sweep()
        ready, logits = self._prefill(step)
        rows = [*self._batch.sequences, *(prompt.sequence for prompt in ready)]
        if self._batch.sequences:
            logits.insert(0, self._batch.step())
        if not rows:
            return step
        tokens, logprobs = choose(torch.cat(logits) if len(logits) > 1 else logits[0], rows)
        for sequence, token, entry in zip(rows, tokens, logprobs, strict=True):
            told = sequence.take(token)
            step.made.append(
                (sequence, [token] if told else [], [entry] if told and entry else [], sequence.finish),
            )
        if going := [prompt for prompt in ready if not prompt.sequence.finish]:
            self._batch.join(going)
        self._batch.sweep()
        return step

    def _prefill(self, step: Step) -> tuple[list[TorchPrompt], list[Tensor]]:
        """The prompts that are now computed, and the logits after each."""
        ready: list[TorchPrompt] = []
        found: list[Tensor] = []
        room = CHUNK
        while room > 0 and (prompt := self._next(step, len(ready))) is not None:
            before = prompt.computed
            logits = prompt.advance(self.model, CHUNK)
            room -= prompt.computed - before
            if logits is not None:
                self._prompt = None
                ready.append(prompt)
                found.append(logits)
        return ready, found

    def _next(self, step: Step, ready: int) -> TorchPrompt | None:
        if self._prompt is not None and self._prompt.sequence.finish:
            self._prompt = None
        while self._prompt is None and self._waiting and len(self._batch.sequences) + ready < self._slots:
            sequence = self._waiting.popleft()
            if not sequence.finish:
                step.begun.append(sequence)
                self._prompt = TorchPrompt(sequence)
        return self._prompt
