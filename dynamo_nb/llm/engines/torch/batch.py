"""The sequences that a model goes on with together, and their keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dynamo_nb.llm.engines.torch.cache import new_cache
from dynamo_nb.llm.engines.torch.model import TorchModel
from dynamo_nb.llm.engines.torch.sequence import TorchSequence

if TYPE_CHECKING:
    from torch import Tensor


class TorchPrompt:
    """A sequence whose tokens are computed, a chunk at a time, before it joins a batch.

    Chunks end where they would if nothing else was computed, so that their logits are the same.
    """

    def __init__(self, sequence: TorchSequence) -> None:
        self.sequence = sequence
        self.cache = new_cache()
        self.computed = 0

    def advance(self, model: TorchModel, chunk: int) -> Tensor | None:
        """Computes the next tokens. The logits after the last one, `[1, vocabulary]`; None while some are left."""
        tokens = self.sequence.tokens[self.computed : self.computed + chunk]
        logits = model.logits([tokens], [self.computed], self.cache)
        self.computed += len(tokens)
        return logits if self.computed == len(self.sequence.tokens) else None


class TorchBatch:
    """Gives one token more of each of its sequences at a step.

    The keys and values of all are in one cache, `[rows, heads, columns, size]` in each layer. The last column has each
    row's last token that was computed, which is the one before its newest; shorter rows begin with padding, which a
    mask hides. There are as many columns as the longest row needs.
    """

    def __init__(self, model: TorchModel) -> None:
        self._model = model
        self._cache: Any = None
        self.sequences: list[TorchSequence] = []

    def join(self, prompts: Sequence[TorchPrompt]) -> None:
        """Takes sequences up whose tokens are computed, but for one that was made since."""
        import torch
        from torch.nn.functional import pad

        self.sequences += [prompt.sequence for prompt in prompts]
        caches = [prompt.cache for prompt in prompts]
        if self._cache is not None:
            caches.insert(0, self._cache)
        columns = max(cache.get_seq_length() for cache in caches)

        def together(parts: list[Tensor]) -> Tensor:
            return torch.cat([pad(part, (0, 0, columns - part.shape[-2], 0)) for part in parts])

        self._cache = caches[0]
        for layer, *others in zip(*(cache.layers for cache in caches), strict=True):
            layer.hold(
                together([layer.keys, *(other.keys for other in others)]),
                together([layer.values, *(other.values for other in others)]),
            )

    def sweep(self) -> None:
        """Drops the sequences that have ended, and the columns that nobody needs any more."""
        import torch

        rows = [row for row, sequence in enumerate(self.sequences) if not sequence.finish]
        if len(rows) == len(self.sequences):
            return
        self.sequences = [self.sequences[row] for row in rows]
        if not rows:
            self._cache = None
            return
        kept = torch.tensor(rows, device=self._model.device)
        padding = self._cache.get_seq_length() - max(len(sequence.tokens) for sequence in self.sequences) + 1
        for layer in self._cache.layers:
            layer.hold(layer.keys[..., padding:, :][kept], layer.values[..., padding:, :][kept])

    def step(self) -> Tensor:
        """The logits after each sequence's newest token, `[rows, vocabulary]`."""
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
