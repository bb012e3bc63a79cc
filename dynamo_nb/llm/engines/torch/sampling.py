"""Sampling: chooses the next token of every row of a batch from its logits, with the settings of its own request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.llm.engines.torch.sequence import TorchSequence
from dynamo_nb.llm.messages import Logprobs, Sampling
from dynamo_nb.llm.sampling_defaults import CompleteSampling

if TYPE_CHECKING:
    from torch import Tensor

RANGES: Final = {
    "temperature": (0.0, math.inf),
    "top_p": (0.0, 1.0),
    "top_k": (0, math.inf),
    "min_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "repetition_penalty": (0.0, math.inf),
    "min_tokens": (0, math.inf),
    "logprobs": (0, math.inf),
}
"""The values that each parameter accepts, as in vLLM and OpenAI's API. Both ends are included, except for infinity and
for the zeros of NEVER_ZERO."""
NEVER_ZERO: Final = ("top_p", "repetition_penalty")


def check_sampling(sampling: Sampling) -> None:
    """Raises InvalidArgument for a value out of its range."""
    for name, (least, most) in RANGES.items():
        value = getattr(sampling, name)
        if value is None or (least <= value <= most and math.isfinite(value) and (value or name not in NEVER_ZERO)):
            continue
        above = "more than" if name in NEVER_ZERO else "at least"
        below = f" and at most {most:g}" if math.isfinite(most) else ""
        raise InvalidArgument(f"{name} is {value}", where=name, remedy=f"{name} must be {above} {least:g}{below}")


def sample(logits: Tensor, rows: Sequence[TorchSequence]) -> tuple[list[int], list[Logprobs]]:
    """Chooses the next token of each row, in vLLM's order: biases, penalties, temperature, min_p, top_k, top_p.

    The token of a row does not depend on the other rows.

    Args:
        logits: `[rows, vocabulary]`.
        rows: The sequence of each row.

    Returns:
        The tokens, and the log probabilities of the model itself, before any setting; [] where none were requested.
    """
    import torch

    if all(row.is_plain for row in rows):
        tokens = logits.argmax(-1)
    else:
        scores = logits.float().clone()
        for index, row in enumerate(rows):
            if biases := row.sampling.logit_bias:
                scores[index, list(biases)] += torch.tensor(list(biases.values()), device=scores.device)
            if row.has_penalties:
                _penalise(scores[index], row)
            if row.must_continue:
                scores[index, list(row.end_tokens)] = -math.inf
        tokens = scores.argmax(-1)
        if random := [index for index, row in enumerate(rows) if not row.greedy]:
            tokens[random] = _draw(scores[random], [rows[index] for index in random])
    requested = [index for index, row in enumerate(rows) if row.sampling.logprobs is not None]
    if not requested:
        return tokens.tolist(), [[]] * len(rows)
    counts = [rows[index].sampling.logprobs or 0 for index in requested]
    all_logprobs = torch.log_softmax(logits[requested].float(), -1)
    top = all_logprobs.topk(min(max(counts), all_logprobs.shape[-1]))
    chosen = all_logprobs.gather(1, tokens[requested, None])[:, 0].tolist()
    found: list[Logprobs] = [[]] * len(rows)
    result: list[int] = tokens.tolist()
    for index, most, value, others, values in zip(
        requested, counts, chosen, top.indices.tolist(), top.values.tolist(), strict=True
    ):
        found[index] = [(result[index], value), *zip(others[:most], values[:most], strict=True)]
    return result, found


def _penalise(scores: Tensor, row: TorchSequence) -> None:
    """Presence and frequency penalties count generated tokens; the repetition penalty counts the prompt too."""
    import torch

    sampling = row.sampling
    if sampling.repetition_penalty != 1.0:
        seen = torch.tensor(list(row.seen), device=scores.device)
        old = scores[seen]
        scores[seen] = torch.where(old > 0, old / sampling.repetition_penalty, old * sampling.repetition_penalty)
    if row.generated and (sampling.presence_penalty or sampling.frequency_penalty):
        seen = torch.tensor(list(row.generated), device=scores.device)
        times = torch.tensor(list(row.generated.values()), device=scores.device, dtype=scores.dtype)
        scores[seen] -= sampling.presence_penalty + sampling.frequency_penalty * times


def _draw(scores: Tensor, rows: Sequence[TorchSequence]) -> Tensor:
    """A random token of each row: the row's random number is looked up in its cumulative probabilities."""
    import torch

    settings = [row.sampling for row in rows]
    device = scores.device
    scores /= torch.tensor([each.temperature for each in settings], device=device)[:, None]
    chances = torch.softmax(scores, -1)
    if any(each.min_p for each in settings):
        least = chances.amax(-1) * torch.tensor([each.min_p for each in settings], device=device)
        chances[chances < least[:, None]] = 0.0
    if narrow := [index for index, each in enumerate(settings) if each.top_k or each.top_p < 1.0]:
        chances[narrow] = _narrowed(chances[narrow], [settings[index] for index in narrow])
    # In 32 bits, rounding of the sums would decide among the rare tokens of a large vocabulary.
    edges = chances.double().cumsum(-1)
    points = torch.tensor([row.draw() for row in rows], device=device, dtype=edges.dtype) * edges[:, -1]
    tokens = torch.searchsorted(edges, points[:, None], right=True)[:, 0]
    return tokens.clamp_(max=edges.shape[-1] - 1)  # a model that returns NaN leads past the end


def _narrowed(chances: Tensor, settings: Sequence[CompleteSampling]) -> Tensor:
    """The probabilities with 0 for tokens that `top_k` and then `top_p` exclude; the most likely token stays."""
    import torch

    device, vocabulary = chances.device, chances.shape[-1]
    ranked, order = chances.sort(dim=-1, descending=True, stable=True)
    most = torch.tensor([min(each.top_k or vocabulary, vocabulary) for each in settings], device=device)
    ranked[torch.arange(vocabulary, device=device) >= most[:, None]] = 0.0
    ranked /= ranked.sum(-1, keepdim=True)
    share = torch.tensor([each.top_p if each.top_p < 1.0 else math.inf for each in settings], device=device)
    ranked[ranked.cumsum(-1) - ranked >= share[:, None]] = 0.0
    return torch.zeros_like(chances).scatter_(1, order, ranked)
