"""One sequence in an EchoEngine: what it has to say, how far it is, and what nobody has read yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dynamo_nb.llm.cache.blocks import block_hashes, chained, root
from dynamo_nb.llm.messages import TokenDelta, TokenRequest


def echoed(prompt: Sequence[int], first: int, count: int) -> list[int]:
    """Tokens `first` to `first + count` of the answer to a prompt: the prompt, again and again."""
    size = len(prompt)
    return [prompt[place % size] for place in range(first, first + count)]


class EchoSequence:
    """The state of one request. The engine moves it on; who reads the answer takes the deltas.

    limit: how many tokens the answer has at most, those of earlier attempts included.
    """

    def __init__(self, request: TokenRequest, block_size: int, limit: int) -> None:
        sampling = request.sampling
        self.request = request
        self.tokens = list(request.tokens)
        self.prompt = len(self.tokens) - request.generated
        self.made = request.generated
        self.limit = limit
        self.min_tokens = sampling.min_tokens
        self.stop_tokens = frozenset(sampling.stop_tokens)
        self.block_size = block_size
        self.names: list[int] = []  # of its full blocks, computed and pinned
        self.taken = 0  # blocks that it has besides, not full yet
        self.computed = 0  # tokens that have their keys and values: all but the newest
        self.cached = -1
        self.finish = ""
        self.error: Exception | None = None
        self.begin = 0.0  # when its prompt was computed, by the loop's clock
        self.steps = 0  # since then
        self.news = asyncio.Event()
        self._unread: list[int] = []
        self._first = True

    def prompt_blocks(self) -> list[int]:
        """The names of the full blocks of all tokens so far."""
        request = self.request
        return block_hashes(self.tokens, self.block_size, adapter=request.adapter, salt=request.salt)

    def next_block(self) -> int:
        """The name of the block that has just become full."""
        parent = self.names[-1] if self.names else root(self.request.adapter, self.request.salt)
        end = self.computed
        return chained(parent, self.tokens[end - self.block_size : end], self.block_size)[0]

    def say(self) -> None:
        """Makes the next token, or ends."""
        token = self.tokens[self.made % self.prompt]
        if token in self.stop_tokens and self.made >= self.min_tokens:
            self.finish = "stop"
            return
        self.tokens.append(token)
        self._unread.append(token)
        self.made += 1
        if self.made >= self.limit:
            self.finish = "length"

    def take(self) -> TokenDelta | None:
        """What has been made since the last time; None for nothing."""
        if not self._unread and not self.finish:
            return None
        delta = TokenDelta(self._unread, self.finish)
        self._unread = []
        if self._first:
            self._first = False
            delta.cached = max(self.cached, 0)
        likeliest = self.request.sampling.logprobs
        if likeliest is not None:
            delta.logprobs = [[(token, 0.0)] * (2 if likeliest else 1) for token in delta.tokens]
        return delta
