"""One sequence in an EchoEngine: its answer, its progress, and the tokens that were not read yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dynamo_nb.llm.cache.blocks import block_hashes, chained, root
from dynamo_nb.llm.messages import TokenDelta, TokenRequest


def echoed(prompt: Sequence[int], first: int, count: int) -> list[int]:
    """Returns tokens `first` to `first + count` of the answer to a prompt, which repeats the prompt."""
    size = len(prompt)
    return [prompt[index % size] for index in range(first, first + count)]


class EchoSequence:
    """The state of one request. The engine advances it; the reader of the answer takes the deltas.

    Args:
        request: The request.
        block_size: Tokens in a block of the KV cache.
        limit: Most tokens of the answer, including those of earlier attempts.
    """

    def __init__(self, request: TokenRequest, block_size: int, limit: int) -> None:
        sampling = request.sampling
        self.request = request
        self.tokens = list(request.tokens)
        self.prompt_length = len(self.tokens) - request.generated
        self.generated = request.generated
        self.limit = limit
        self.min_tokens = sampling.min_tokens
        self.stop_tokens = frozenset(sampling.stop_tokens)
        self.block_size = block_size
        self.names: list[int] = []  # of its full blocks, computed and pinned
        self.open_blocks = 0  # its blocks that are not full yet
        self.computed = 0  # tokens that have keys and values: all but the newest
        self.cached = -1
        self.finish = ""
        self.error: Exception | None = None
        self.begin = 0.0  # when its prompt was computed, by the loop's clock
        self.steps = 0  # since then
        self.changed = asyncio.Event()
        self._unread: list[int] = []
        self._first = True

    def prompt_blocks(self) -> list[int]:
        """Returns the names of the full blocks of all tokens so far."""
        request = self.request
        return block_hashes(self.tokens, self.block_size, adapter=request.adapter, salt=request.salt)

    def next_block(self) -> int:
        """Returns the name of the block that has just become full."""
        parent = self.names[-1] if self.names else root(self.request.adapter, self.request.salt)
        end = self.computed
        return chained(parent, self.tokens[end - self.block_size : end], self.block_size)[0]

    def generate_token(self) -> None:
        """Generates the next token, or ends the answer."""
        token = self.tokens[self.generated % self.prompt_length]
        if token in self.stop_tokens and self.generated >= self.min_tokens:
            self.finish = "stop"
            return
        self.tokens.append(token)
        self._unread.append(token)
        self.generated += 1
        if self.generated >= self.limit:
            self.finish = "length"

    def take(self) -> TokenDelta | None:
        """Returns what was generated since the last call; None if there is nothing."""
        if not self._unread and not self.finish:
            return None
        delta = TokenDelta(self._unread, self.finish)
        self._unread = []
        if self._first:
            self._first = False
            delta.cached = max(self.cached, 0)
        top_logprobs = self.request.sampling.logprobs
        if top_logprobs is not None:
            delta.logprobs = [[(token, 0.0)] * (2 if top_logprobs else 1) for token in delta.tokens]
        return delta
