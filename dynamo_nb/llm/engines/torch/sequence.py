"""One sequence that a TorchEngine goes on with: its tokens, when it ends, and where its chance comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Final

from dynamo_nb.llm.messages import TokenRequest

COLDEST: Final = 1e-5  # temperatures below are 0, as vLLM has it: logits divided by less are no longer finite
BITS: Final = 32  # of each draw, so that a draw times a sum of 64-bit floats stays below the sum


class TorchSequence:
    """The state of one request. The engine's thread alone changes it.

    left: how many tokens may still be made. ends: the model's own. vocabulary: how many tokens it has.

    Its random numbers come from Python's generator, one for each token: they are the same on every device, whatever is
    computed beside it, and an answer that another worker began goes on with the number that is next.
    """

    def __init__(self, request: TokenRequest, left: int, ends: Iterable[int], vocabulary: int) -> None:
        asked = self.sampling = request.sampling
        self.tokens = list(request.tokens)
        self.finish = ""
        own = () if asked.ignore_eos else ends
        self.ends = frozenset(token for token in (*own, *asked.stop_tokens) if 0 <= token < vocabulary)
        prompt = len(self.tokens) - request.generated
        self._limit = len(self.tokens) + left
        self._least = prompt + asked.min_tokens if self.ends else 0
        self.greedy = asked.temperature < COLDEST
        self.penal = bool(asked.presence_penalty or asked.frequency_penalty or asked.repetition_penalty != 1.0)
        self.made = Counter(self.tokens[prompt:])
        self.seen = set(self.tokens) if self.penal else set()
        self._random = Random(asked.seed)  # noqa: S311
        if asked.seed is not None and not self.greedy:
            for _ in range(request.generated):
                self.draw()

    @property
    def endless(self) -> bool:
        """Whether it is too short yet for an end."""
        return len(self.tokens) < self._least

    @property
    def plain(self) -> bool:
        """Whether the likeliest token is the next one, whatever it is."""
        return self.greedy and not self.penal and not self.endless

    def draw(self) -> float:
        """The next number, 0 to 1, without 1."""
        return self._random.getrandbits(BITS) / (1 << BITS)

    def take(self, token: int) -> bool:
        """Goes on with this token, or ends with it. Whether it is one of the answer."""
        if token in self.ends:
            self.finish = "stop"
            return False
        self.tokens.append(token)
        if self.penal:
            self.made[token] += 1
            self.seen.add(token)
        if len(self.tokens) >= self._limit:
            self.finish = "length"
        return True
