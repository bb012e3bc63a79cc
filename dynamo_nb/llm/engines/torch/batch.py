"""The sequences that a model computes together, with their keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dynamo_nb.llm.engines.torch.cache import new_cache
from dynamo_nb.llm.engines.torch.model import TorchModel
from dynamo_nb.llm.engines.torch.sequence import TorchSequence

if TYPE_CHECKING:
    from torch import Tensor


class TorchPrompt:
    """A sequence whose prompt is computed, one chunk at a time, before it joins a batch.

    Chunks end at the same tokens regardless of other sequences, so that their logits are always the same.
    """

    def __init__(self, sequence: TorchSequence) -> None:
        self.sequence = sequence
        self.cache = new_cache()
        self.computed = 0

    def advance(self, model: TorchModel, chunk: int) -> Tensor | None:
        """Computes the next tokens.

        Args:
            model: The model.
            chunk: Most tokens to compute.

        Returns:
            The logits after the last token of the prompt, `[1, vocabulary]`; None if tokens are left.
        """
        tokens = self.sequence.tokens[self.computed : self.computed + chunk]
        logits = model.logits([tokens], [self.computed], self.cache)
        self.computed += len(tokens)
        return logits if self.computed == len(self.sequence.tokens) else None


class TorchBatch:
    """Computes the next token of each of its sequences in one step.

    One cache holds the keys and values of all, `[rows, heads, columns, size]` in each layer. The last column belongs to
    the last computed token of each row, which is the one before its newest. Shorter rows begin with padding, which a
    mask hides. There are as many columns as the longest row needs.
    """

    def __init__(self, model: TorchModel) -> None:
        self._model = model
        self._cache: Any = None
        self.sequences: list[TorchSequence] = []

    def join(self, prompts: Sequence[TorchPrompt]) -> None:
        """Adds sequences whose tokens are computed, except for the newest one."""
        import torch
        from torch.nn.functional import pad

        self.sequences += [prompt.sequence for prompt in prompts]
        caches = [prompt.cache for prompt in prompts]
        if self._cache is not None:
            caches.insert(0, self._cache)
        columns = max(cache.get_seq_length() for cache in caches)

        def stacked(parts: list[Tensor]) -> Tensor:
            return torch.cat([pad(part, (0, 0, columns - part.shape[-2], 0)) for part in parts])

        self._cache = caches[0]
        for layer, *others in zip(*(cache.layers for cache in caches), strict=True):
            layer.replace(
                stacked([layer.keys, *(other.keys for other in others)]),
                stacked([layer.values, *(other.values for other in others)]),
            )

    def remove_ended(self) -> None:
        """Removes the sequences that have ended, and the columns that no other sequence needs."""
        import torch

        rows = [row for row, sequence in enumerate(self.sequences) if not sequence.finish]
        if len(rows) == len(self.sequences):
            return
        self.sequences = [self.sequences[row] for row in rows]
        if not rows:
            self._cache = None
            return
        remaining = torch.tensor(rows, device=self._model.device)
        padding = self._cache.get_seq_length() - max(len(sequence.tokens) for sequence in self.sequences) + 1
        for layer in self._cache.layers:
            layer.replace(layer.keys[..., padding:, :][remaining], layer.values[..., padding:, :][remaining])

    def step(self) -> Tensor:
        """Returns the logits after the newest token of each sequence, `[rows, vocabulary]`."""
        import torch

        lengths = [len(sequence.tokens) for sequence in self.sequences]
        columns = max(lengths)
        mask = None
        if min(lengths) < columns:
            device = self._model.device
            padding = columns - torch.tensor(lengths, device=device)
            mask = torch.arange(columns, device=device) >= padding[:, None]
        newest = [[sequence.tokens[-1]] for sequence in self.sequences]
        return self._model.logits(newest, [length - 1 for length in lengths], self._cache, mask)
