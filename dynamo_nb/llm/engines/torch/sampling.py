"""The choice of next tokens from logits: all rows of a batch at once, each as its own request wants it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.llm.engines.torch.sequence import TorchSequence
from dynamo_nb.llm.messages import Logprobs, Sampling

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
"""What each may be, the ends included but for infinity and the zeros of `NEVER_ZERO`; as vLLM and OpenAI have it."""
NEVER_ZERO: Final = ("top_p", "repetition_penalty")


def check_sampling(sampling: Sampling) -> None:
    """Raises InvalidArgument for a value that makes no sense."""
    for name, (least, most) in RANGES.items():
        value = getattr(sampling, name)
        if value is None or (least <= value <= most and math.isfinite(value) and (value or name not in NEVER_ZERO)):
            continue
        above = "more than" if name in NEVER_ZERO else "at least"
        below = f", at most {most:g}" if math.isfinite(most) else ""
        raise InvalidArgument(f"{name} is {value}", where=name, remedy=f"make it {above} {least:g}{below}")


def choose(logits: Tensor, rows: Sequence[TorchSequence]) -> tuple[list[int], list[Logprobs]]:
    """The next token of each row, and its log probabilities: [] where they were not asked for.

    logits: `[rows, vocabulary]`. In vLLM's order: penalties, temperature, min_p, top_k, top_p. A row's token does not
    depend on the other rows. Log probabilities are those of the model, before any of it.
    """
    import torch

    if all(row.plain for row in rows):
        tokens = logits.argmax(-1)
    else:
        scores = logits.float().clone()
        for place, row in enumerate(rows):
            if row.penal:
                _penalise(scores[place], row)
            if row.endless:
                scores[place, list(row.ends)] = -math.inf
        tokens = scores.argmax(-1)
        if random := [place for place, row in enumerate(rows) if not row.greedy]:
            tokens[random] = _drawn(scores[random], [rows[place] for place in random])
    wanted = [place for place, row in enumerate(rows) if row.sampling.logprobs is not None]
    if not wanted:
        return tokens.tolist(), [[]] * len(rows)
    likeliest = [rows[place].sampling.logprobs or 0 for place in wanted]
    own = torch.log_softmax(logits[wanted].float(), -1)
    best = own.topk(min(max(likeliest), own.shape[-1]))
    chosen = own.gather(1, tokens[wanted, None])[:, 0].tolist()
    found: list[Logprobs] = [[]] * len(rows)
    result: list[int] = tokens.tolist()
    for place, count, value, others, values in zip(
        wanted, likeliest, chosen, best.indices.tolist(), best.values.tolist(), strict=True
    ):
        found[place] = [(result[place], value), *zip(others[:count], values[:count], strict=True)]
    return result, found


def _penalise(scores: Tensor, row: TorchSequence) -> None:
    """Presence and frequency count what was generated, repetition the prompt too."""
    import torch

    asked = row.sampling
    if asked.repetition_penalty != 1.0:
        seen = torch.tensor(list(row.seen), device=scores.device)
        old = scores[seen]
        scores[seen] = torch.where(old > 0, old / asked.repetition_penalty, old * asked.repetition_penalty)
    if row.made and (asked.presence_penalty or asked.frequency_penalty):
        seen = torch.tensor(list(row.made), device=scores.device)
        times = torch.tensor(list(row.made.values()), device=scores.device, dtype=scores.dtype)
        scores[seen] -= asked.presence_penalty + asked.frequency_penalty * times


def _drawn(scores: Tensor, rows: Sequence[TorchSequence]) -> Tensor:
    """A random token of each row: where the row's number falls when the probabilities are laid end to end."""
    import torch

    asked = [row.sampling for row in rows]
    device = scores.device
    scores /= torch.tensor([each.temperature for each in asked], device=device)[:, None]
    chances = torch.softmax(scores, -1)
    if any(each.min_p for each in asked):
        least = chances.amax(-1) * torch.tensor([each.min_p for each in asked], device=device)
        chances[chances < least[:, None]] = 0.0
    if narrow := [place for place, each in enumerate(asked) if each.top_k or each.top_p < 1.0]:
        chances[narrow] = _narrowed(chances[narrow], [asked[place] for place in narrow])
    # With 32 bits, the rounding of the sums would choose among a large vocabulary's rare tokens.
    edges = chances.double().cumsum(-1)
    points = torch.tensor([row.draw() for row in rows], device=device, dtype=edges.dtype) * edges[:, -1]
    places = torch.searchsorted(edges, points[:, None], right=True)[:, 0]
    return places.clamp_(max=edges.shape[-1] - 1)  # of numbers that are none, when the model gives such


def _narrowed(chances: Tensor, asked: Sequence[Sampling]) -> Tensor:
    """The same with 0 for what `top_k` and then `top_p` leave out; the likeliest always stays."""
    import torch

    device, vocabulary = chances.device, chances.shape[-1]
    ranked, order = chances.sort(dim=-1, descending=True, stable=True)
    most = torch.tensor([min(each.top_k or vocabulary, vocabulary) for each in asked], device=device)
    ranked[torch.arange(vocabulary, device=device) >= most[:, None]] = 0.0
    ranked /= ranked.sum(-1, keepdim=True)
    share = torch.tensor([each.top_p if each.top_p < 1.0 else math.inf for each in asked], device=device)
    ranked[ranked.cumsum(-1) - ranked >= share[:, None]] = 0.0
    return torch.zeros_like(chances).scatter_(1, order, ranked)
