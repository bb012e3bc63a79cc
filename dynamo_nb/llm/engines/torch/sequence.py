"""One sequence in a TorchEngine: its tokens, when it ends, and its random numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Final

from dynamo_nb.llm.messages import TokenRequest
from dynamo_nb.llm.sampling_defaults import completed

COLDEST: Final = 1e-5  # lower temperatures count as 0, as in vLLM: logits divided by less are not finite
BITS: Final = 32  # of each draw, so that a draw times a sum of 64-bit floats is less than the sum


class TorchSequence:
    """The state of one request. Only the engine's thread changes it.

    The random numbers come from Python's generator, one for each token. They are the same on every device and in every
    batch, and an answer that another worker began continues with the next number.

    Args:
        request: The request.
        remaining: Most tokens that may still be generated.
        end_tokens: The model's own end tokens.
        vocabulary: Number of tokens in the vocabulary.
    """

    def __init__(self, request: TokenRequest, remaining: int, end_tokens: Iterable[int], vocabulary: int) -> None:
        sampling = self.sampling = completed(request.sampling)
        self.tokens = list(request.tokens)
        self.finish = ""
        own = () if sampling.ignore_eos else end_tokens
        self.end_tokens = frozenset(token for token in (*own, *sampling.stop_tokens) if 0 <= token < vocabulary)
        prompt_length = len(self.tokens) - request.generated
        self._limit = len(self.tokens) + remaining
        self._least = prompt_length + sampling.min_tokens if self.end_tokens else 0
        self.greedy = sampling.temperature < COLDEST
        self.has_penalties = bool(
            sampling.presence_penalty or sampling.frequency_penalty or sampling.repetition_penalty != 1.0
        )
        self.generated = Counter(self.tokens[prompt_length:])
        self.seen = set(self.tokens) if self.has_penalties else set()
        self._random = Random(sampling.seed)  # noqa: S311
        if sampling.seed is not None and not self.greedy:
            for _ in range(request.generated):
                self.draw()

    @property
    def must_continue(self) -> bool:
        """True if the answer is still shorter than `min_tokens`."""
        return len(self.tokens) < self._least

    @property
    def is_plain(self) -> bool:
        """True if the next token is the most likely one, without further conditions."""
        return self.greedy and not (self.sampling.logit_bias or self.has_penalties or self.must_continue)

    def draw(self) -> float:
        """Returns the next random number, at least 0 and less than 1."""
        return self._random.getrandbits(BITS) / (1 << BITS)

    def take(self, token: int) -> bool:
        """Adds a token, or ends at it. Returns whether the token is part of the answer."""
        if token in self.end_tokens:
            self.finish = "stop"
            return False
        self.tokens.append(token)
        if self.has_penalties:
            self.generated[token] += 1
            self.seen.add(token)
        if len(self.tokens) >= self._limit:
            self.finish = "length"
        return True
